import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HealthClient } from '@gatehouse/contracts/health';
import { InferenceServiceService } from '@gatehouse/contracts/inference';
import { ListenError } from '@gatehouse/sockets';
import { createLogger } from '@gatehouse/telemetry';
import { credentials, type Metadata, status } from '@grpc/grpc-js';
import { expect, onTestFinished, test, vi } from 'vitest';
import { refusal, request, startFixture } from '../test/kit-fixture.ts';
import { loadServedContract } from './served-contract.ts';
import { startService } from './server.ts';

const { generate, streamGenerate } = InferenceServiceService;
const log = createLogger({ name: 'kit', level: 'silent' });

async function socketPath(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kit-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return join(folder, 'app.sock');
}

const listenOn = (listen: string) =>
  startService({ config: { listen, drainMsMax: 100 }, services: [], log, now: Date.now });

function health(address: string, service: string): Promise<number | string> {
  const client = new HealthClient(address, credentials.createInsecure());
  return new Promise((resolve) => {
    client.check({ service }, (error, response) => {
      client.close();
      resolve(error ? status[error.code] : response.status);
    });
  });
}

test('listens on a socket that the owner and the group may use', async () => {
  const { address } = await startFixture();
  expect((await stat(address.slice('unix:'.length))).mode & 0o777).toBe(0o660);
});

test('removes a stale socket, and leaves one alone that somebody answers on', async () => {
  const path = await socketPath();
  const first = await listenOn(`unix:${path}`);
  await expect(listenOn(`unix:${path}`)).rejects.toThrow(ListenError);
  await expect(listenOn(`unix:${path}`)).rejects.toThrow('another process has it');
  await first.stop();

  const second = await listenOn(`unix:${await leaveStaleSocket()}`);
  await second.stop();
});

/** A process that ends without closing leaves its socket file behind. */
async function leaveStaleSocket(): Promise<string> {
  const path = await socketPath();
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  expect((await stat(path)).isSocket()).toBe(true);
  return path;
}

test('does not replace a file that is no socket', async () => {
  const path = await socketPath();
  await writeFile(path, 'precious');
  await expect(listenOn(`unix:${path}`)).rejects.toThrow('a file that is no socket is there');
});

test('says in one sentence that a port is taken', async () => {
  const first = await listenOn('127.0.0.1:0');
  onTestFinished(() => first.stop());
  expect(first.address).toMatch(/^127\.0\.0\.1:[1-9]\d*$/);
  await expect(listenOn(first.address)).rejects.toThrow(ListenError);
  await expect(listenOn(first.address)).rejects.toThrow(`cannot listen on ${first.address}`);
});

test('says with its health which version of the contract it serves', async () => {
  const { address } = await startFixture();
  const client = new HealthClient(address, credentials.createInsecure());
  const stated = await new Promise((resolve) => {
    client
      .check({ service: '' }, () => client.close())
      .on('metadata', (metadata: Metadata) => resolve(metadata.get('gatehouse-contract')));
  });
  expect(stated).toEqual([loadServedContract().version]);
});

test('reports health per service, and NOT_SERVING as told', async () => {
  const { address, server } = await startFixture();
  expect(await health(address, '')).toBe(1);
  expect(await health(address, 'gatehouse.inference.v1.InferenceService')).toBe(1);
  expect(await health(address, 'no.such.Service')).toBe('NOT_FOUND');
  server.setServing('gatehouse.inference.v1.InferenceService', false);
  expect(await health(address, 'gatehouse.inference.v1.InferenceService')).toBe(2);
  expect(await health(address, 'gatehouse.embeddings.v1.EmbeddingsService')).toBe(1);
});

test('a drain lets calls in flight finish and takes no new ones', async () => {
  const fixture = await startFixture();
  const stream = fixture.channel.serverStream(streamGenerate, request('endless'));
  await stream.next();
  const drained = fixture.server.drain();
  await expect
    .poll(async () => (await refusal(fixture.channel.unary(generate, request('echo')))).code)
    .toBe(status.UNAVAILABLE);
  let read = 1;
  for await (const _ of stream) if (++read === 500) break;
  expect(read).toBe(500);
  await drained;
});

test('a drain cuts calls that outlast it, and tells their handlers', async () => {
  const fixture = await startFixture(200);
  const call = refusal(fixture.channel.unary(generate, request('wait')));
  await vi.waitFor(() => expect(fixture.waiting.size).toBe(1));
  await fixture.server.drain();
  expect(await call).toMatchObject({
    code: status.UNAVAILABLE,
    details: { errorInfo: { reason: 'SERVER_STOPPING' } },
  });
  expect(fixture.aborted).toEqual(['SERVER_STOPPING']);
});

test('stop ends a drain that is under way', async () => {
  const fixture = await startFixture(60_000);
  const call = refusal(fixture.channel.unary(generate, request('wait')));
  await vi.waitFor(() => expect(fixture.waiting.size).toBe(1));
  const drained = fixture.server.drain();
  await fixture.server.stop();
  await drained;
  expect((await call).code).toBe(status.UNAVAILABLE);
});
