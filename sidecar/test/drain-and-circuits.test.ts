import { type AddressInfo, createServer } from 'node:net';
import { CircuitState } from '@gatehouse/contracts/admin';
import { startEchoServer } from '@gatehouse/testing';
import { status } from '@grpc/grpc-js';
import { expect, test, vi } from 'vitest';
import { listCircuits } from './support/admin.ts';
import { run, startCall } from './support/calls.ts';
import { startTestMesh } from './support/test-mesh.ts';

test('a draining sidecar says that it is not ready and finishes what is in progress', async () => {
  const mesh = await startTestMesh();
  const client = mesh.client();
  const stream = startCall(client, 'serverStream', [{ count: 50, delayMs: 20, text: 'x' }]);
  await stream.firstAnswer;
  const drained = mesh.inbound.drain();
  expect((await fetch(`http://${mesh.inbound.telemetryAddress}/readyz`)).status).toBe(503);
  const ended = await stream.ended;
  expect(ended.code).toBe(status.OK);
  expect(ended.answers).toHaveLength(50);
  await drained;
  await mesh.stop();
});

test('an endpoint that hangs up on everyone gets few calls, and no call is lost to it', async () => {
  const hangsUp = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => hangsUp.listen(0, '127.0.0.1', resolve));
  const { port } = hangsUp.address() as AddressInfo;
  const mesh = await startTestMesh({ endpoints: [`127.0.0.1:${port}`] });
  try {
    for (let i = 0; i < 100; i++)
      expect((await run(mesh.client(), 'unary', [{ text: 'x' }])).code).toBe(status.OK);
    const bad = (await listCircuits(mesh.egress)).circuits.find(({ endpoint }) =>
      endpoint.endsWith(`:${port}`),
    );
    expect(bad?.failuresTotal).toBeGreaterThan(0n);
    expect(bad?.failuresTotal).toBeLessThan(20n);
  } finally {
    hangsUp.close();
    await mesh.stop();
  }
}, 30_000);

test('refusals and bad requests never open a breaker', async () => {
  const mesh = await startTestMesh();
  try {
    for (let i = 0; i < 30; i++) {
      expect((await run(mesh.client(), 'unary', [{ failCode: status.PERMISSION_DENIED }])).code).toBe(
        status.PERMISSION_DENIED,
      );
      expect((await run(mesh.client(), 'unary', [{ failCode: status.INVALID_ARGUMENT }])).code).toBe(
        status.INVALID_ARGUMENT,
      );
    }
    const [circuit] = (await listCircuits(mesh.egress)).circuits;
    expect(circuit).toMatchObject({
      state: CircuitState.CIRCUIT_STATE_CLOSED,
      failuresTotal: 0n,
      callsActive: 0n,
    });
  } finally {
    await mesh.stop();
  }
});

test('an upstream that fails every call has its breaker opened, calls refused at once with when to come back, and is probed until it recovers', async () => {
  const mesh = await startTestMesh();
  try {
    await vi.waitFor(async () => {
      await run(mesh.client(), 'unary', [{ failCode: status.INTERNAL }]);
      expect((await listCircuits(mesh.egress)).circuits[0]?.state).toBe(CircuitState.CIRCUIT_STATE_OPEN);
    }, 10_000);
    const refused = await run(mesh.client(), 'unary', [{ text: 'x' }]);
    expect(refused.code).toBe(status.UNAVAILABLE);
    expect(refused.details.errorInfo?.reason).toBe('CIRCUIT_OPEN');
    expect(refused.details.retryDelayMs).toBeGreaterThan(0);
    await vi.waitFor(async () => {
      await run(mesh.client(), 'unary', [{ text: 'x' }]);
      expect((await listCircuits(mesh.egress)).circuits[0]?.state).toBe(CircuitState.CIRCUIT_STATE_CLOSED);
    }, 15_000);
  } finally {
    await mesh.stop();
  }
}, 40_000);

test('an idempotent call that an endpoint answers with UNAVAILABLE goes to another try, one that is not does not', async () => {
  const app = await startEchoServer({ address: '127.0.0.1:0' });
  const mesh = await startTestMesh({ app: app.address });
  try {
    const before = app.counts.started;
    expect((await run(mesh.client(), 'unary', [{ failCode: status.UNAVAILABLE }])).code).toBe(
      status.UNAVAILABLE,
    );
    expect(app.counts.started - before).toBe(1);
    expect((await run(mesh.client(), 'repeatable', [{ failCode: status.UNAVAILABLE }])).code).toBe(
      status.UNAVAILABLE,
    );
    expect(app.counts.started - before).toBeGreaterThan(2);
  } finally {
    await mesh.stop();
    app.stop();
  }
});
