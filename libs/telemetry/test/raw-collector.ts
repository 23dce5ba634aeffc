import { once } from 'node:events';
import { Server, ServerCredentials } from '@grpc/grpc-js';

/** A collector that keeps the bytes of each export. */
export type RawCollector = {
  readonly endpoint: string;
  readonly exports: Buffer[];
  /** Resolves once all exports together hold every one of the given texts. */
  received(...texts: (string | Buffer)[]): Promise<void>;
  close(): void;
};

const bytes = (buffer: Buffer): Buffer => buffer;

export async function startRawCollector(
  service: 'trace.v1.TraceService' | 'logs.v1.LogsService' = 'trace.v1.TraceService',
): Promise<RawCollector> {
  const exports: Buffer[] = [];
  const arrivals = new EventTarget();
  const server = new Server();
  server.addService(
    {
      Export: {
        path: `/opentelemetry.proto.collector.${service}/Export`,
        requestStream: false,
        responseStream: false,
        requestSerialize: bytes,
        requestDeserialize: bytes,
        responseSerialize: bytes,
        responseDeserialize: bytes,
      },
    },
    {
      Export: (call: { request: Buffer }, reply: (error: null, answer: Buffer) => void) => {
        exports.push(call.request);
        reply(null, Buffer.alloc(0));
        arrivals.dispatchEvent(new Event('export'));
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    endpoint: `http://127.0.0.1:${port}`,
    exports,
    received: async (...texts) => {
      while (!texts.every((text) => Buffer.concat(exports).includes(text))) {
        await once(arrivals, 'export', { signal: AbortSignal.timeout(10_000) });
      }
    },
    close: () => server.forceShutdown(),
  };
}
