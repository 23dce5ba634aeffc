/**
 * What does a sidecar hold for a connection that does nothing, and for a call that waits for its answer? A sidecar of its own process
 * before an app that answers nothing; resident memory from /proc (Linux), the lowest of some readings after everything is open.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { type ClientHttp2Session, connect, createServer } from 'node:http2';
import { type AddressInfo, createServer as createPortHolder } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { layGround } from './relay/ground.ts';
import { sidecar } from './relay/peers/sidecar.ts';
import { writeSidecarImage } from './relay/peers/sidecar-image.ts';

const CONNECTIONS = 500;
const CALLS_PER_CONNECTION = 10;
const READINGS = 6;
const READING_PAUSE_MS = 500;
const READY_MS_MAX = 20_000;
const PATH = '/testing.echo.v1.EchoService/Unary';

async function freePort(): Promise<number> {
  const server = createPortHolder().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

async function residentKilobytes(pid: number): Promise<number> {
  let lowest = Number.POSITIVE_INFINITY;
  for (let reading = 0; reading < READINGS; reading++) {
    await delay(READING_PAUSE_MS);
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    lowest = Math.min(lowest, Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]));
  }
  return lowest;
}

const folder = await mkdtemp(join(tmpdir(), 'gh-held-'));
const app = createServer();
let atApp = 0;
app.on('stream', () => (atApp += 1));
app.on('sessionError', () => {});
app.listen(0, '127.0.0.1');
await once(app, 'listening');
const { server, caller, ...ground } = await layGround(folder);
const port = await freePort();
const prepared = await sidecar({ name: 'held' }).prepare(
  {
    ...ground,
    ...server,
    folder,
    otlpPort: 1,
    appPort: (app.address() as AddressInfo).port,
    imageMain: await writeSidecarImage(folder),
  },
  port,
);
const child = spawn(prepared.command, prepared.args, {
  env: { ...process.env, ...prepared.env },
  stdio: ['ignore', 'ignore', 'inherit'],
});
const pid = child.pid ?? 0;
const tls = {
  ca: await readFile(caller.bundleFile),
  cert: await readFile(caller.certificateFile),
  key: await readFile(caller.keyFile),
  checkServerIdentity: () => undefined,
};
const sessions: ClientHttp2Session[] = [];
const open = async (): Promise<void> => {
  const session = connect(`https://127.0.0.1:${port}`, tls);
  session.on('error', () => {});
  await once(session, 'remoteSettings');
  sessions.push(session);
};

try {
  const until = performance.now() + READY_MS_MAX;
  while (sessions.length === 0) {
    await open().catch(() => delay(100));
    if (performance.now() > until) throw new Error('the sidecar was not ready in time');
  }
  const idle = await residentKilobytes(pid);
  while (sessions.length <= CONNECTIONS) await open();
  const connected = await residentKilobytes(pid);
  const message = Buffer.alloc(105);
  message.writeUInt32BE(100, 1);
  const head = { ':method': 'POST', ':path': PATH, 'content-type': 'application/grpc', te: 'trailers' };
  const calls = CONNECTIONS * CALLS_PER_CONNECTION;
  for (const session of sessions.slice(1)) {
    for (let call = 0; call < CALLS_PER_CONNECTION; call++) {
      const stream = session.request({ ...head, 'grpc-timeout': '60S' });
      stream.on('error', () => {});
      stream.end(message);
    }
  }
  const arrived = performance.now() + READY_MS_MAX;
  while (atApp < calls && performance.now() < arrived) await delay(100);
  const held = await residentKilobytes(pid);
  console.log(`idle, one connection: ${(idle / 1000).toFixed(0)} MB`);
  console.log(`${CONNECTIONS} connections: ${((connected - idle) / CONNECTIONS).toFixed(1)} KB each`);
  console.log(`${atApp} calls of 100 bytes at the app: ${((held - connected) / atApp).toFixed(1)} KB each`);
} finally {
  for (const session of sessions) session.destroy();
  child.kill('SIGKILL');
  await once(child, 'exit');
  app.close();
  await rm(folder, { recursive: true, force: true });
  process.exit();
}
