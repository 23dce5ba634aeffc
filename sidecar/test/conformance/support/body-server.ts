import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import {
  Connection,
  type ConnectionSettings,
  field,
  type Stream,
  type StreamHandler,
} from '../../../src/http2/index.ts';

const HEAD = [field(':status', '200'), field('content-type', 'text/plain')];
const BODY = Buffer.from('an answer with a body, so that its flow control can be seen');

export type BodyServer = { readonly port: number; close(): void };

/** The HTTP/2 library alone, over plain TCP: answers every request with a body when the request has ended. */
export async function startBodyServer(settings: ConnectionSettings): Promise<BodyServer> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    Connection.server(socket, { onStream: () => answering, onClose() {} }, settings);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function answer(stream: Stream): void {
  stream.sendHeaders(HEAD, false);
  stream.sendData(BODY, 0, BODY.length, true);
}

const answering: StreamHandler = {
  onHeaders: (stream, _fields, endStream) => {
    if (endStream) answer(stream);
  },
  onData: (...[stream, , start, end, endStream]) => {
    stream.consume(end - start);
    if (endStream) answer(stream);
  },
  onSent() {},
  onReset() {},
};
