import { fileURLToPath } from 'node:url';
import { Server, ServerCredentials, type ServiceDefinition, type UntypedHandleCall } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

export type AttributeValue = string | number | boolean | readonly AttributeValue[];

/** A span as a process sent it. Times are milliseconds since 1970, to the microsecond. */
export type ReceivedSpan = {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the root of a trace. */
  readonly parentSpanId: string;
  /** `service.name` of the process. */
  readonly service: string;
  readonly name: string;
  readonly kind: 'internal' | 'server' | 'client' | 'other';
  readonly startTimeMs: number;
  readonly endTimeMs: number;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly events: readonly {
    readonly name: string;
    readonly timeMs: number;
    readonly attributes: Readonly<Record<string, AttributeValue>>;
  }[];
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly status: 'unset' | 'ok' | 'error';
};

export type TraceReceiverOptions = {
  /** `host:port`; port 0 takes any free one. Default `127.0.0.1:0`. */
  readonly listen?: string;
  /** Traces kept; the oldest go first. Default 256. */
  readonly tracesMax?: number;
  /** Spans kept of one trace; later ones are left out. Default 2000. */
  readonly spansPerTraceMax?: number;
};

export type TraceReceiver = {
  /** What exporters are given: `http://host:port`. */
  readonly endpoint: string;
  /** Calls the listener with the spans of each export; the result takes it off again. */
  onSpans(listener: (spans: readonly ReceivedSpan[]) => void): () => void;
  /**
   * Waits until a trace is complete by the caller's measure and then quiet, since processes export at their own pace.
   *
   * @returns what has arrived of the trace, complete or not
   */
  collect(traceId: string, until: CollectUntil): Promise<readonly ReceivedSpan[]>;
  close(): void;
};

type CollectUntil = {
  readonly isComplete: (spans: readonly ReceivedSpan[]) => boolean;
  /** How long no span of the trace may arrive before a complete trace is taken as final. */
  readonly quietMs: number;
  /** When to give up waiting. */
  readonly waitMsMax: number;
};

const RECEIVED_BYTES_MAX = 16 * 1024 * 1024;

/** Receives spans over OTLP/gRPC and keeps the latest traces, for showing them where there is no Jaeger. */
export async function receiveTraces(options: TraceReceiverOptions = {}): Promise<TraceReceiver> {
  const { listen = '127.0.0.1:0', tracesMax = 256, spansPerTraceMax = 2000 } = options;
  const traces = new Map<string, ReceivedSpan[]>();
  const listeners = new Set<(spans: readonly ReceivedSpan[]) => void>();
  const keep = (span: ReceivedSpan): void => {
    let spans = traces.get(span.traceId);
    if (spans === undefined) {
      spans = [];
      traces.set(span.traceId, spans);
      const [oldest] = traces.keys();
      if (traces.size > tracesMax && oldest !== undefined) traces.delete(oldest);
    }
    if (spans.length < spansPerTraceMax) spans.push(span);
  };
  const server = new Server({ 'grpc.max_receive_message_length': RECEIVED_BYTES_MAX });
  server.addService(traceService(), {
    Export: ((call: { request: ExportRequest }, reply: (error: null, response: object) => void) => {
      const spans = readExport(call.request);
      for (const span of spans) keep(span);
      for (const listener of listeners) listener(spans);
      reply(null, {});
    }) as UntypedHandleCall,
  });
  const onSpans: TraceReceiver['onSpans'] = (listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  return {
    endpoint: `http://${await bind(server, listen)}`,
    onSpans,
    collect: (traceId, until) => collect(traceId, until, { onSpans, spansOf: (id) => traces.get(id) ?? [] }),
    close: () => server.forceShutdown(),
  };
}

type Source = {
  readonly onSpans: TraceReceiver['onSpans'];
  readonly spansOf: (traceId: string) => readonly ReceivedSpan[];
};

function collect(traceId: string, until: CollectUntil, source: Source): Promise<readonly ReceivedSpan[]> {
  return new Promise((resolve) => {
    let quiet: NodeJS.Timeout | undefined;
    const finish = (): void => {
      clearTimeout(quiet);
      clearTimeout(end);
      stopListening();
      resolve(source.spansOf(traceId));
    };
    const look = (): void => {
      clearTimeout(quiet);
      if (until.isComplete(source.spansOf(traceId))) quiet = setTimeout(finish, until.quietMs);
    };
    const end = setTimeout(finish, until.waitMsMax);
    const stopListening = source.onSpans((spans) => {
      if (spans.some((span) => span.traceId === traceId)) look();
    });
    look();
  });
}

async function bind(server: Server, listen: string): Promise<string> {
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return `${listen.slice(0, listen.lastIndexOf(':'))}:${port}`;
}

function traceService(): ServiceDefinition {
  const protoFile = fileURLToPath(new URL('../proto/otlp-trace.proto', import.meta.url));
  const loaded = loadSync(protoFile, { longs: String, defaults: true, arrays: true, oneofs: true });
  return loaded['opentelemetry.proto.collector.trace.v1.TraceService'] as unknown as ServiceDefinition;
}

type AnyValue = {
  readonly value?: string;
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  readonly intValue?: string;
  readonly doubleValue?: number;
  readonly arrayValue?: { readonly values: readonly AnyValue[] };
};
type KeyValue = { readonly key: string; readonly value: AnyValue | null };
type OtlpSpan = {
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly parentSpanId: Buffer;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly KeyValue[];
  readonly events: readonly {
    readonly name: string;
    readonly timeUnixNano: string;
    readonly attributes: readonly KeyValue[];
  }[];
  readonly links: readonly { readonly traceId: Buffer; readonly spanId: Buffer }[];
  readonly status: { readonly code: number } | null;
};
type ExportRequest = {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] } | null;
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[];
  }[];
};

function readExport(request: ExportRequest): ReceivedSpan[] {
  return request.resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = String(readAttributes(resource?.attributes ?? [])['service.name'] ?? 'unknown');
    return scopeSpans.flatMap(({ spans }) => spans.map((span) => readSpan(span, service)));
  });
}

const KINDS = ['other', 'internal', 'server', 'client'] as const;
const STATUSES = ['unset', 'ok', 'error'] as const;

function readSpan(span: OtlpSpan, service: string): ReceivedSpan {
  return {
    traceId: span.traceId.toString('hex'),
    spanId: span.spanId.toString('hex'),
    parentSpanId: span.parentSpanId.toString('hex'),
    service,
    name: span.name,
    kind: KINDS[span.kind] ?? 'other',
    startTimeMs: toMilliseconds(span.startTimeUnixNano),
    endTimeMs: toMilliseconds(span.endTimeUnixNano),
    attributes: readAttributes(span.attributes),
    events: span.events.map(({ name, timeUnixNano, attributes }) => ({
      name,
      timeMs: toMilliseconds(timeUnixNano),
      attributes: readAttributes(attributes),
    })),
    links: span.links.map((link) => ({
      traceId: link.traceId.toString('hex'),
      spanId: link.spanId.toString('hex'),
    })),
    status: STATUSES[span.status?.code ?? 0] ?? 'unset',
  };
}

function toMilliseconds(unixNano: string): number {
  return Number(BigInt(unixNano) / 1000n) / 1000;
}

function readAttributes(pairs: readonly KeyValue[]): Record<string, AttributeValue> {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, readValue(value ?? {})]));
}

function readValue(any: AnyValue): AttributeValue {
  switch (any.value) {
    case 'intValue':
      return Number(any.intValue);
    case 'doubleValue':
      return any.doubleValue ?? 0;
    case 'boolValue':
      return any.boolValue ?? false;
    case 'arrayValue':
      return (any.arrayValue?.values ?? []).map(readValue);
    case undefined:
    default:
      return any.stringValue ?? '';
  }
}
