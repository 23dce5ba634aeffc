import { type Attributes, SpanKind, SpanStatusCode } from '@opentelemetry/api';
import type { ExportTotals } from './export-queue.ts';
import { hrTime, resourceOf } from './exportable.ts';
import { ATTRIBUTES } from './names.ts';
import type { ExportableSpan } from './otlp-exporter.ts';
import type { OtlpOptions } from './otlp-target.ts';
import { createSpanQueue, type SpanQueueLimits } from './span-queue.ts';

/** A span that has ended, with ids chosen by the caller. Times are milliseconds since 1970 and may have fractions. */
export type FinishedSpan = {
  readonly name: string;
  readonly kind: 'server' | 'client' | 'internal';
  /** 32 lower-case hex digits. */
  readonly traceId: string;
  /** 16 lower-case hex digits. */
  readonly spanId: string;
  /** Absent for the root of a trace. */
  readonly parentSpanId?: string | undefined;
  /** Whether the parent is another process's span. Default false. */
  readonly parentIsRemote?: boolean;
  readonly startTimeMs: number;
  readonly endTimeMs: number;
  readonly attributes: Attributes;
  readonly events?: readonly SpanEvent[];
  /** Default `unset`. */
  readonly status?: 'unset' | 'ok' | 'error';
  readonly links?: readonly SpanLink[];
};

export type SpanEvent = { readonly name: string; readonly timeMs: number; readonly attributes?: Attributes };

export type SpanLink = {
  readonly traceId: string;
  readonly spanId: string;
  readonly attributes?: Attributes;
};

export type SpanRecorderOptions = SpanQueueLimits &
  OtlpOptions & {
    /** `service.name` of every span. */
    readonly serviceName: string;
    readonly resourceAttributes?: Attributes;
    /** Called when an export fails after one that did not. */
    readonly onExportFailure?: (error: Error) => void;
  };

/** Takes finished spans of sampled calls; the caller decides which calls are sampled and makes nothing for the others. */
export type SpanRecorder = {
  /** False without a collector: then no call needs to be sampled. */
  readonly enabled: boolean;
  /** Queues a span. Never waits, never throws; a full queue drops it and counts that. */
  record(span: FinishedSpan): void;
  readonly totals: Readonly<ExportTotals>;
  flush(): Promise<void>;
  shutdown(): Promise<void>;
};

const SCOPE = { name: '@gatehouse/telemetry' };

export async function createSpanRecorder(options: SpanRecorderOptions): Promise<SpanRecorder> {
  const { otlpEndpoint } = options;
  if (otlpEndpoint === undefined) return disabledRecorder();
  const { openSpanExporter } = await import('./otlp-exporter.ts');
  const queue = createSpanQueue({ ...options, exporter: openSpanExporter({ ...options, otlpEndpoint }) });
  const resource = resourceOf({
    [ATTRIBUTES.serviceName]: options.serviceName,
    ...options.resourceAttributes,
  });
  return {
    enabled: true,
    totals: queue.totals,
    record: (span) => queue.add(toExportable(span, resource)),
    flush: queue.flush,
    shutdown: queue.shutdown,
  };
}

function disabledRecorder(): SpanRecorder {
  const nothing = async (): Promise<void> => {};
  return {
    enabled: false,
    totals: { recorded: 0, exported: 0, dropped: 0 },
    record: () => {},
    flush: nothing,
    shutdown: nothing,
  };
}

const KINDS = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL } as const;
const STATUSES = { unset: SpanStatusCode.UNSET, ok: SpanStatusCode.OK, error: SpanStatusCode.ERROR } as const;
const FLAGS_SAMPLED = 1;

function toExportable(span: FinishedSpan, resource: ExportableSpan['resource']): ExportableSpan {
  const context = { traceId: span.traceId, spanId: span.spanId, traceFlags: FLAGS_SAMPLED };
  return {
    name: span.name,
    kind: KINDS[span.kind],
    spanContext: () => context,
    ...(span.parentSpanId === undefined
      ? {}
      : {
          parentSpanContext: {
            ...context,
            spanId: span.parentSpanId,
            isRemote: span.parentIsRemote ?? false,
          },
        }),
    startTime: hrTime(span.startTimeMs),
    endTime: hrTime(span.endTimeMs),
    duration: hrTime(Math.max(0, span.endTimeMs - span.startTimeMs)),
    ended: true,
    attributes: span.attributes,
    status: { code: STATUSES[span.status ?? 'unset'] },
    events: (span.events ?? []).map((event) => ({
      name: event.name,
      time: hrTime(event.timeMs),
      attributes: event.attributes ?? {},
    })),
    links: (span.links ?? []).map((link) => ({
      context: { traceId: link.traceId, spanId: link.spanId, traceFlags: FLAGS_SAMPLED },
      attributes: link.attributes ?? {},
    })),
    resource,
    instrumentationScope: SCOPE,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}
