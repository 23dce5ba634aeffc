/**
 * An app as quick as Node's own HTTP/2 makes it, as a process of its own: main.ts PATH. Hostile calls are then
 * not slow because of what an app does with them, and it has the limits of a real one: nghttp2 counts resets.
 */
import { rmSync } from 'node:fs';
import {
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';

const ANSWER = Buffer.from([0, 0, 0, 0, 4, 0x0a, 2, 0x6f, 0x6b]);
const HEAD = { ':status': 200, 'content-type': 'application/grpc' };
const DOWNLOAD_MESSAGES = 1_000;
const DOWNLOAD = Buffer.concat([Buffer.from([0, 0, 0, 0xea, 0x60]), Buffer.alloc(60_000)]);

function answer(stream: ServerHttp2Stream): void {
  if (stream.destroyed) return;
  stream.respond(HEAD, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(ANSWER);
}

function download(stream: ServerHttp2Stream): void {
  if (stream.destroyed) return;
  stream.respond(HEAD, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  let left = DOWNLOAD_MESSAGES;
  const more = (): void => {
    while (left-- > 0) if (!stream.write(DOWNLOAD)) return;
    stream.end();
  };
  stream.on('drain', more);
  more();
}

// What it writes waits in its memory, as with gRPC's own servers; it is not what is tested.
const server = createServer({ maxSessionMemory: 10_000 });
server.on('stream', (stream: ServerHttp2Stream, head: IncomingHttpHeaders) => {
  stream.on('error', () => {});
  const method = head[':path']?.split('/')[2];
  // A client stream is never read, and a call of both kinds never ends by itself.
  if (method === 'ClientStream') return;
  stream.resume();
  if (method === 'Unary') stream.on('end', () => answer(stream));
  else if (method === 'ServerStream') stream.on('end', () => download(stream));
});
const [path = ''] = process.argv.slice(2);
rmSync(path, { force: true });
server.listen(path, () => process.stdout.write('ready\n'));

const sessions = new Set<ServerHttp2Session>();
server.on('session', (session) => {
  sessions.add(session);
  session.on('close', () => sessions.delete(session));
});
// GOAWAY, what has begun is finished, and then the end.
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  for (const session of sessions) session.close();
});
