import type { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';

/** A finished span in the SDK's own shape. */
export type ExportableSpan = Parameters<OTLPTraceExporter['export']>[0][number];

/** The part of an SDK span exporter that the queue uses. */
export type SpanExporter = Pick<OTLPTraceExporter, 'export' | 'shutdown'>;

export type SpanQueueLimits = {
  /** Spans that may wait. What comes on top is dropped. Default 2048. */
  readonly queueSpansMax?: number;
  /** Spans in one export. Default 512. */
  readonly batchSpansMax?: number;
  /** How long a span may wait for others before it is sent. Default 1000. */
  readonly batchDelayMsMax?: number;
  /** How long shutting down may wait for the collector; what it has not taken by then is dropped. Default 3000. */
  readonly shutdownMsMax?: number;
};

/** Totals since the start. `recorded` = `exported` + `dropped` + those still waiting or on their way. */
export type SpanTotals = { recorded: number; exported: number; dropped: number };

export type SpanQueue = {
  add(span: ExportableSpan): void;
  readonly totals: Readonly<SpanTotals>;
  /** Sends what waits and gives back once the collector has taken or refused it. Never rejects. */
  flush(): Promise<void>;
  /** Flushes and closes the exporter, for a limited time. Spans added later are dropped. */
  shutdown(): Promise<void>;
};

export type SpanQueueOptions = SpanQueueLimits & {
  readonly exporter: SpanExporter;
  /** Called when an export fails after one that did not, and not again until one has succeeded. */
  readonly onExportFailure?: (error: Error) => void;
};

/**
 * Sends finished spans in batches, one export at a time. Adding never waits and never fails: when the collector is away
 * the queue fills to its limit and further spans are counted as dropped.
 */
export function createSpanQueue(options: SpanQueueOptions): SpanQueue {
  const {
    exporter,
    queueSpansMax = 2048,
    batchSpansMax = 512,
    batchDelayMsMax = 1000,
    shutdownMsMax = 3000,
  } = options;
  const totals: SpanTotals = { recorded: 0, exported: 0, dropped: 0 };
  const waiting: ExportableSpan[] = [];
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<void> | undefined;
  let failing = false;
  let closed = false;

  const exportBatch = (batch: ExportableSpan[]): Promise<void> =>
    new Promise((resolve) => {
      exporter.export(batch, (result) => {
        if (result.code === 0) {
          totals.exported += batch.length;
          failing = false;
        } else {
          totals.dropped += batch.length;
          if (!failing)
            options.onExportFailure?.(result.error ?? new Error('the collector refused the spans'));
          failing = true;
        }
        resolve();
      });
    });

  const sendAll = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting.splice(0, batchSpansMax);
      await exportBatch(batch);
    }
  };

  const flush = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    sending ??= sendAll().finally(() => {
      sending = undefined;
    });
    return sending;
  };

  return {
    totals,
    add: (span) => {
      totals.recorded += 1;
      if (closed || waiting.length >= queueSpansMax) {
        totals.dropped += 1;
        return;
      }
      waiting.push(span);
      if (waiting.length >= batchSpansMax) void flush();
      else timer ??= setTimeout(() => void flush(), batchDelayMsMax).unref();
    },
    flush,
    shutdown: async () => {
      closed = true;
      // The exporter's own shutdown waits for what is on its way.
      const closing = flush().then(() => exporter.shutdown());
      await within(shutdownMsMax, closing);
      totals.dropped += waiting.splice(0).length;
    },
  };
}

async function within(msMax: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, msMax);
  });
  try {
    await Promise.race([work, expired]);
  } finally {
    clearTimeout(timer);
  }
}
