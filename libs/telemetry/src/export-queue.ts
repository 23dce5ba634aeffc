type ExportQueueLimits = {
  /** Items that may wait. What comes on top is dropped. */
  readonly queueMax: number;
  /** Items in one export. */
  readonly batchMax: number;
  /** How long an item may wait for others before it is sent. Default 1000. */
  readonly batchDelayMsMax?: number | undefined;
  /** How long shutting down may wait for the collector; what it has not taken by then is dropped. Default 3000. */
  readonly shutdownMsMax?: number | undefined;
};

/** The part of an SDK exporter that the queue uses. */
export type Exporter<T> = {
  export(items: T[], done: (result: { readonly code: number; readonly error?: Error }) => void): void;
  shutdown(): Promise<void>;
};

/** Totals since the start. `recorded` = `exported` + `dropped` + those still waiting or on their way. */
export type ExportTotals = { recorded: number; exported: number; dropped: number };

export type ExportQueue<T> = {
  add(item: T): void;
  readonly totals: Readonly<ExportTotals>;
  /** Sends what waits and gives back once the collector has taken or refused it. Never rejects. */
  flush(): Promise<void>;
  /** Flushes and closes the exporter, for a limited time. Items added later are dropped. */
  shutdown(): Promise<void>;
};

type ExportQueueOptions<T> = ExportQueueLimits & {
  readonly exporter: Exporter<T>;
  /** Called when an export fails after one that did not, and not again until one has succeeded. */
  readonly onExportFailure?: ((error: Error) => void) | undefined;
};

/**
 * Sends items to a collector in batches, one export at a time. Adding never waits and never fails: when the collector is away
 * the queue fills to its limit and further items are counted as dropped.
 */
export function createExportQueue<T>(options: ExportQueueOptions<T>): ExportQueue<T> {
  const { exporter, queueMax, batchMax, batchDelayMsMax = 1000, shutdownMsMax = 3000 } = options;
  const totals: ExportTotals = { recorded: 0, exported: 0, dropped: 0 };
  const waiting: T[] = [];
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<void> | undefined;
  let failing = false;
  let closed = false;

  const exportBatch = (batch: T[]): Promise<void> =>
    new Promise((resolve) => {
      exporter.export(batch, (result) => {
        if (result.code === 0) {
          totals.exported += batch.length;
          failing = false;
        } else {
          totals.dropped += batch.length;
          if (!failing)
            options.onExportFailure?.(result.error ?? new Error('the collector refused what it was sent'));
          failing = true;
        }
        resolve();
      });
    });

  const sendAll = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting.splice(0, batchMax);
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
    add: (item) => {
      totals.recorded += 1;
      if (closed || waiting.length >= queueMax) {
        totals.dropped += 1;
        return;
      }
      waiting.push(item);
      if (waiting.length >= batchMax) void flush();
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
