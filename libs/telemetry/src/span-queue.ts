import { createExportQueue, type Exporter, type ExportQueue } from './export-queue.ts';
import type { ExportableSpan } from './otlp-exporter.ts';

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

export type SpanQueueOptions = SpanQueueLimits & {
  readonly exporter: Exporter<ExportableSpan>;
  /** Called when an export fails after one that did not, and not again until one has succeeded. */
  readonly onExportFailure?: (error: Error) => void;
};

/** Finished spans on their way to a collector. */
export function createSpanQueue(options: SpanQueueOptions): ExportQueue<ExportableSpan> {
  const { queueSpansMax = 2048, batchSpansMax = 512, ...rest } = options;
  return createExportQueue({ ...rest, queueMax: queueSpansMax, batchMax: batchSpansMax });
}
