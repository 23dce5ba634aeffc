/** The load process: client, app and span sink of every cell, on one core that no proxy runs on. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo, Server } from 'node:net';
import { type ConnectionOptions, createServer as createTlsServer } from 'node:tls';
import { AnswerFrames } from './answers.ts';
import { App } from './app.ts';
import type { LoadReady, LoadReply, LoadRequest } from './cell.ts';
import { runCell } from './run-cell.ts';
import { runHandshakes } from './run-handshakes.ts';

const [certificateFile, keyFile, bundleFile] = process.argv.slice(2) as [string, string, string];
const [cert, key, ca] = [certificateFile, keyFile, bundleFile].map((file) => readFileSync(file));
const common = { cert, key, ca, minVersion: 'TLSv1.3', ALPNProtocols: ['h2'] } as const;
const tls = { ...common, checkServerIdentity: () => undefined } as ConnectionOptions;

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

const EMPTY = new AnswerFrames({ messages: 1, payloadBytes: 0, everyMs: 0 });
const app = new App(EMPTY);
const spanSink = new App(EMPTY);
const tlsServer = createTlsServer(
  { ...common, requestCert: true, rejectUnauthorized: true } as object,
  (socket) => app.serve(socket),
);
const ready: LoadReady = {
  appPort: await listen(app.listen()),
  tlsAppPort: await listen(tlsServer),
  otlpPort: await listen(spanSink.listen()),
};
const send = (message: LoadReply | LoadReady): void => {
  process.send?.(message);
};
process.on('message', (request: LoadRequest) => {
  const reply: Promise<LoadReply> =
    'cell' in request
      ? runCell(request.cell, app, tls).then((result) => ({ result }))
      : runHandshakes(request.handshakes, tls).then((handshakes) => ({ handshakes }));
  reply.then(send, (error: unknown) => send({ error: String(error) }));
});
process.on('disconnect', () => process.exit(0));
send(ready);
