import { type AnyValue, type Attributes, SeverityNumber } from '@opentelemetry/api';
import { createExportQueue, type ExportTotals } from './export-queue.ts';
import { hrTime, resourceOf } from './exportable.ts';
import { ATTRIBUTES } from './names.ts';
import type { ExportableLog } from './otlp-exporter.ts';
import type { OtlpOptions } from './otlp-target.ts';

/** An event that leaves as an OTLP log record. Times are milliseconds since 1970. */
export type LogEvent = {
  /** What happened, such as `gatehouse.audit.record`. */
  readonly name: string;
  readonly timeMs: number;
  readonly body: AnyValue;
  readonly attributes: Attributes;
  /** 32 lower-case hex digits; empty outside of a trace. */
  readonly traceId?: string;
};

export type LogRecorderOptions = OtlpOptions & {
  /** `service.name` of every event. */
  readonly serviceName: string;
  /** Events that may wait for the collector; what comes on top is dropped and counted. Default 8192. */
  readonly queueEventsMax?: number;
  /** How long an event may wait for others. Default 1000. */
  readonly batchDelayMsMax?: number;
  /** Called when an export fails after one that did not. */
  readonly onExportFailure?: (error: Error) => void;
};

export type LogRecorder = {
  readonly enabled: boolean;
  /** Queues an event. Never waits, never throws. */
  record(event: LogEvent): void;
  readonly totals: Readonly<ExportTotals>;
  shutdown(): Promise<void>;
};

const SCOPE = { name: '@gatehouse/telemetry' };
const BATCH_EVENTS_MAX = 512;
const SPAN_ID_NONE = '0'.repeat(16);
const FLAGS_NONE = 0;

export async function createLogRecorder(options: LogRecorderOptions): Promise<LogRecorder> {
  const { otlpEndpoint } = options;
  if (otlpEndpoint === undefined) {
    return {
      enabled: false,
      record: () => {},
      totals: { recorded: 0, exported: 0, dropped: 0 },
      shutdown: async () => {},
    };
  }
  const { openLogExporter } = await import('./otlp-exporter.ts');
  const queue = createExportQueue({
    ...options,
    queueMax: options.queueEventsMax ?? 8192,
    batchMax: BATCH_EVENTS_MAX,
    exporter: openLogExporter({ ...options, otlpEndpoint }),
  });
  const resource = resourceOf({ [ATTRIBUTES.serviceName]: options.serviceName });
  return {
    enabled: true,
    record: (event) => queue.add(toExportable(event, resource)),
    totals: queue.totals,
    shutdown: queue.shutdown,
  };
}

function toExportable(event: LogEvent, resource: ExportableLog['resource']): ExportableLog {
  const time = hrTime(event.timeMs);
  const { traceId = '' } = event;
  return {
    hrTime: time,
    hrTimeObserved: time,
    severityNumber: SeverityNumber.INFO,
    eventName: event.name,
    body: event.body,
    attributes: event.attributes,
    ...(traceId === '' ? {} : { spanContext: { traceId, spanId: SPAN_ID_NONE, traceFlags: FLAGS_NONE } }),
    resource,
    instrumentationScope: SCOPE,
    droppedAttributesCount: 0,
  };
}
