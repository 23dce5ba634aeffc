import { BinaryReader } from '@bufbuild/protobuf/wire';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';

/** A span as OTLP carries it; ids in hex. */
export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  /** OTLP's number: 1 internal, 2 server, 3 client. */
  readonly kind: number;
  readonly attributes: readonly string[];
}

/** Receives spans over OTLP/gRPC. */
export async function startSpanCollector() {
  const spans: CollectedSpan[] = [];
  const same = (bytes: Buffer): Buffer => bytes;
  const server = new Server();
  server.addService(
    {
      Export: {
        path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
        requestStream: false,
        responseStream: false,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      },
    },
    {
      Export: (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
        // ExportTraceServiceRequest.resource_spans = 1, ResourceSpans.scope_spans = 2, ScopeSpans.spans = 2.
        for (const resource of messages(call.request, 1)) {
          for (const scope of messages(resource, 2)) spans.push(...messages(scope, 2).map(readSpan));
        }
        reply(null, Buffer.alloc(0));
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return { endpoint: `http://127.0.0.1:${port}`, spans, close: () => server.forceShutdown() };
}

function readSpan(bytes: Uint8Array): CollectedSpan {
  const hex = (field: number): string => Buffer.from(messages(bytes, field)[0] ?? []).toString('hex');
  const text = (from: Uint8Array | undefined): string => Buffer.from(from ?? []).toString();
  return {
    traceId: hex(1),
    spanId: hex(2),
    parentSpanId: hex(4),
    name: text(messages(bytes, 5)[0]),
    kind: readNumber(bytes, 6),
    attributes: messages(bytes, 9).map((pair) => {
      const [value = new Uint8Array()] = messages(pair, 2);
      return `${text(messages(pair, 1)[0])}=${text(messages(value, 1)[0])}`;
    }),
  };
}

/** The length-delimited values of one field. */
function messages(bytes: Uint8Array, field: number): Uint8Array[] {
  const found: Uint8Array[] = [];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === field && wireType === 2) found.push(reader.bytes());
    else reader.skip(wireType, number);
  }
  return found;
}

function readNumber(bytes: Uint8Array, field: number): number {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === field && wireType === 0) return reader.uint32();
    reader.skip(wireType, number);
  }
  return 0;
}
