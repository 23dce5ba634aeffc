import { type AnyValue, type Attributes, context, ROOT_CONTEXT, SeverityNumber } from '@opentelemetry/api';
import type { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-grpc';
import { createExportQueue, type Exporter, type ExportTotals } from './export-queue.ts';
import { hrTime, resourceOf } from './exportable.ts';
import { ATTRIBUTES } from './names.ts';

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

export type LogRecorderOptions = {
  /** `service.name` of every event. */
  readonly serviceName: string;
  /** The collector, as `http://host:port` (OTLP over gRPC). Absent: nothing is loaded and every event is ignored. */
  readonly otlpEndpoint?: string | undefined;
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

type ExportableLog = Parameters<OTLPLogExporter['export']>[0][number];

const SCOPE = { name: '@gatehouse/telemetry' };
const BATCH_EVENTS_MAX = 512;
const EXPORT_MS_MAX = 10_000;
const SPAN_ID_NONE = '0'.repeat(16);
const FLAGS_NONE = 0;

export async function createLogRecorder(options: LogRecorderOptions): Promise<LogRecorder> {
  if (options.otlpEndpoint === undefined) {
    return {
      enabled: false,
      record: () => {},
      totals: { recorded: 0, exported: 0, dropped: 0 },
      shutdown: async () => {},
    };
  }
  const queue = createExportQueue({
    ...options,
    queueMax: options.queueEventsMax ?? 8192,
    batchMax: BATCH_EVENTS_MAX,
    exporter: await openLogExporter(options.otlpEndpoint),
  });
  const resource = resourceOf({ [ATTRIBUTES.serviceName]: options.serviceName });
  return {
    enabled: true,
    record: (event) => queue.add(toExportable(event, resource)),
    totals: queue.totals,
    shutdown: queue.shutdown,
  };
}

async function openLogExporter(endpoint: string): Promise<Exporter<ExportableLog>> {
  const { OTLPLogExporter } = await import('@opentelemetry/exporter-logs-otlp-grpc');
  const { suppressTracing } = await import('@opentelemetry/core');
  const exporter = new OTLPLogExporter({ url: endpoint, timeoutMillis: EXPORT_MS_MAX });
  return {
    // An export is a gRPC call as well: traced, each export would bring forth the next.
    export: (logs, done) => context.with(suppressTracing(ROOT_CONTEXT), () => exporter.export(logs, done)),
    shutdown: () => exporter.shutdown(),
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
