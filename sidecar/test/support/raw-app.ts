import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';

/** An app that shows the heads it was called with whole: gRPC libraries keep some of a head to themselves. */
export type RawApp = {
  readonly address: string;
  readonly heads: readonly IncomingHttpHeaders[];
  stop(): void;
};

/** Answers every call with OK and no message. */
export async function startRawApp(): Promise<RawApp> {
  const heads: IncomingHttpHeaders[] = [];
  const server = createServer();
  server.on('stream', (stream: ServerHttp2Stream, head) => {
    heads.push(head);
    stream.on('error', () => {});
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '0' },
      { endStream: true },
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    heads,
    stop: () => server.close(),
  };
}
