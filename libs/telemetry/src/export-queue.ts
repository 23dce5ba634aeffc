import { setTimeout as delay } from 'node:timers/promises';

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

export type Exporter<T> = {
  /** Rejects when the collector did not take them: an ExportFailure, or a bug. */
  export(items: T[]): Promise<void>;
  /** Ends what is on its way, too. */
  close(): void;
};

/** Why an export failed. */
export class ExportFailure extends Error {
  override readonly name = 'ExportFailure';
  /** Whether the same export may succeed later. */
  readonly mayRepeat: boolean;

  constructor(message: string, { mayRepeat }: { readonly mayRepeat: boolean }) {
    super(message);
    this.mayRepeat = mayRepeat;
  }
}

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

/** Between tries of one export: a collector that restarts costs no item that the queue has room for. */
const RETRY_AFTER_MS = [1000, 2000, 4000];

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

  const closing = new AbortController();

  const report = (error: unknown): void => {
    if (!failing) options.onExportFailure?.(error instanceof Error ? error : new Error(String(error)));
    failing = true;
  };

  const exportBatch = async (batch: T[]): Promise<void> => {
    for (const pauseMs of [...RETRY_AFTER_MS, null]) {
      try {
        await exporter.export(batch);
        totals.exported += batch.length;
        failing = false;
        return;
      } catch (error) {
        report(error);
        if (closed || pauseMs === null || !(error instanceof ExportFailure && error.mayRepeat)) break;
        // Cut short by the end, it is the pause before the last try.
        await delay(pauseMs, undefined, { signal: closing.signal, ref: false }).catch(() => {});
      }
    }
    totals.dropped += batch.length;
  };

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
      closing.abort();
      await within(shutdownMsMax, flush());
      totals.dropped += waiting.splice(0).length;
      exporter.close();
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
