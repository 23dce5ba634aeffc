import { AdminServiceClient } from '@gatehouse/contracts/admin';
import { credentials, type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { run, startCall } from './support/calls.ts';
import { startTestMesh, type TestMesh } from './support/test-mesh.ts';

const WAIT = { timeout: 5_000, interval: 10 };

let mesh: TestMesh;
let admin: AdminServiceClient;
beforeEach(async () => {
  mesh = await startTestMesh();
  admin = new AdminServiceClient(mesh.inbound.adminAddress, credentials.createInsecure());
});
afterEach(async () => {
  admin.close();
  await mesh.stop();
});

const drain = (client: AdminServiceClient, wait: boolean): Promise<{ ended: boolean }> =>
  new Promise((resolve, reject) => {
    client.drainInbound({ wait }, (error, answer) => (error === null ? resolve(answer) : reject(error)));
  });

async function probe(path: string): Promise<number> {
  return (await fetch(`http://${mesh.inbound.telemetryAddress}${path}`)).status;
}

test('an inbound drain that is asked for ends calls as SIGTERM does, and leaves the rest of the sidecar up', async () => {
  const client = mesh.client();
  const stream = startCall(client, 'bidi', [{ text: 'one' }], { keepOpen: true });
  await stream.firstAnswer;
  expect([await probe('/readyz'), await probe('/drained')]).toEqual([200, 503]);

  expect(await drain(admin, false)).toEqual({ ended: false });
  expect([await probe('/readyz'), await probe('/drained'), await probe('/livez')]).toEqual([503, 503, 200]);
  const late = await mesh.clientAs('caller');
  await expect
    .poll(async () => (await run(late, 'unary', [{}], { timeoutMs: 500 })).code, WAIT)
    .toBe(status.UNAVAILABLE);

  // The call in progress goes on, and whoever waits is told when it has ended.
  const waited = drain(admin, true);
  const hook = probe('/drained?wait');
  stream.send({ text: 'two' });
  stream.end();
  const ended = await stream.ended;
  expect([ended.code, ended.answers.length]).toEqual([status.OK, 2]);
  expect(await waited).toEqual({ ended: true });
  expect(await hook).toBe(200);
  expect([await probe('/drained'), await probe('/livez')]).toEqual([200, 200]);
  expect(await drain(admin, true)).toEqual({ ended: true });
});

test('what is left after the drain’s time is cut, and the drain has ended', async () => {
  const short = await startTestMesh({ limits: { drainMsMax: 100 } });
  const shortAdmin = new AdminServiceClient(short.inbound.adminAddress, credentials.createInsecure());
  try {
    const stream = startCall(short.client(), 'bidi', [{ text: 'one' }], { keepOpen: true });
    await stream.firstAnswer;
    expect(await drain(shortAdmin, true)).toEqual({ ended: true });
    expect((await stream.ended).code).toBe(status.UNAVAILABLE);
  } finally {
    shortAdmin.close();
    await short.stop();
  }
});

test('a hook that waits for a drain that does not come is answered within the drain’s time', async () => {
  const short = await startTestMesh({ limits: { drainMsMax: 100 } });
  try {
    const waited = await fetch(`http://${short.inbound.telemetryAddress}/drained?wait`);
    expect([waited.status, await waited.text()]).toEqual([503, 'not drained\n']);
  } finally {
    await short.stop();
  }
});

test('a sidecar that nobody calls says that it has nothing to drain, and serves its app on', async () => {
  const egressAdmin = new AdminServiceClient(mesh.egress.adminAddress, credentials.createInsecure());
  try {
    const refused = await drain(egressAdmin, true).catch((error: ServiceError) => error);
    expect(refused).toMatchObject({ code: status.FAILED_PRECONDITION });
    expect((await run(mesh.client(), 'unary', [{}])).code).toBe(status.OK);
  } finally {
    egressAdmin.close();
  }
});
