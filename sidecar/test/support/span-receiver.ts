import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Metadata, Server, ServerCredentials, type ServiceDefinition, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const PROTO = fileURLToPath(new URL('../../../libs/local-mesh/proto/otlp-trace.proto', import.meta.url));
const RECEIVE_MS_MAX = 30_000;

type Attributes = Readonly<Record<string, string | number>>;

/** A span as a sidecar exported it. */
export type ReceivedSpan = {
  readonly service: string;
  readonly name: string;
  readonly kind: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the root of a trace. */
  readonly parentSpanId: string;
  readonly durationMs: number;
  readonly attributes: Attributes;
  readonly events: readonly { readonly name: string; readonly attributes: Attributes }[];
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly isError: boolean;
};

export type SpanReceiver = {
  /** `http://host:port`, for OTLP over gRPC. */
  readonly endpoint: string;
  readonly spans: readonly ReceivedSpan[];
  /** Waits until so many spans of the trace are there. */
  received(traceId: string, count: number): Promise<readonly ReceivedSpan[]>;
  close(): void;
};

type KeyValue = {
  readonly key: string;
  readonly value: { readonly value: string; readonly [kind: string]: string | number };
};
type OtlpSpan = {
  readonly [key in 'traceId' | 'spanId' | 'parentSpanId']: Buffer;
} & {
  readonly name: string;
  readonly kind: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly KeyValue[];
  readonly events: readonly { readonly name: string; readonly attributes: readonly KeyValue[] }[];
  readonly links: readonly { readonly traceId: Buffer; readonly spanId: Buffer }[];
  readonly status: { readonly code: string | number } | null;
};
type ExportRequest = {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[];
  }[];
};

export type SpanReceiverOptions = {
  /** Default: any free one. */
  readonly port?: number;
  /** Takes spans over TLS alone, from clients with a certificate of this CA. */
  readonly tls?: { readonly ca: string; readonly certificate: string; readonly key: string };
  /** A header that every export must have. */
  readonly header?: readonly [name: string, value: string];
};

/** An OTLP collector that keeps every span it is sent. */
export async function startSpanReceiver(options: SpanReceiverOptions = {}): Promise<SpanReceiver> {
  const { port: wanted = 0, tls, header } = options;
  const spans: ReceivedSpan[] = [];
  const arrivals = new EventTarget();
  const definition = loadSync(PROTO, { longs: String, defaults: true, oneofs: true });
  const server = new Server();
  server.addService(definition['opentelemetry.proto.collector.trace.v1.TraceService'] as ServiceDefinition, {
    Export: (
      call: { request: ExportRequest; metadata: Metadata },
      reply: (error: object | null, response?: object) => void,
    ) => {
      if (header && call.metadata.get(header[0])[0] !== header[1]) {
        reply({ code: status.UNAUTHENTICATED, details: 'no such tenant' });
        return;
      }
      for (const { resource, scopeSpans } of call.request.resourceSpans) {
        const service = String(readAttributes(resource.attributes)['service.name']);
        spans.push(...scopeSpans.flatMap((scope) => scope.spans.map((span) => readSpan(span, service))));
      }
      reply(null, {});
      arrivals.dispatchEvent(new Event('export'));
    },
  });
  const credentials = tls
    ? ServerCredentials.createSsl(
        Buffer.from(tls.ca),
        [{ cert_chain: Buffer.from(tls.certificate), private_key: Buffer.from(tls.key) }],
        true,
      )
    : ServerCredentials.createInsecure();
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${wanted}`, credentials, (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const of = (traceId: string) => spans.filter((span) => span.traceId === traceId);
  return {
    endpoint: tls ? `https://localhost:${port}` : `http://127.0.0.1:${port}`,
    spans,
    received: async (traceId, count) => {
      const signal = AbortSignal.timeout(RECEIVE_MS_MAX);
      while (of(traceId).length < count) await once(arrivals, 'export', { signal });
      return of(traceId);
    },
    close: () => server.forceShutdown(),
  };
}

function readSpan(span: OtlpSpan, service: string): ReceivedSpan {
  return {
    service,
    name: span.name,
    kind: String(span.kind),
    traceId: span.traceId.toString('hex'),
    spanId: span.spanId.toString('hex'),
    parentSpanId: span.parentSpanId.toString('hex'),
    durationMs: Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6,
    attributes: readAttributes(span.attributes),
    events: span.events.map(({ name, attributes }) => ({ name, attributes: readAttributes(attributes) })),
    links: span.links.map((link) => ({
      traceId: link.traceId.toString('hex'),
      spanId: link.spanId.toString('hex'),
    })),
    isError: Number(span.status?.code ?? 0) === 2,
  };
}

function readAttributes(pairs: readonly KeyValue[]): Attributes {
  return Object.fromEntries(
    pairs.map(({ key, value }) => {
      const read = value[value.value] ?? '';
      return [key, value.value === 'intValue' ? Number(read) : read];
    }),
  );
}
