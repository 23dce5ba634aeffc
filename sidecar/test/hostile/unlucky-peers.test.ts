import { once } from 'node:events';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { run, startCall } from '../support/calls.ts';
import { type HostileMesh, type SidecarProcess, startHostileMesh } from './support/hostile-mesh.ts';
import { startPausableProxy } from './support/pausable-proxy.ts';
import { startSteadyClient } from './support/steady-client.ts';

const KEEPALIVE = { keepaliveMs: 500, keepaliveAnswerMsMax: 500 };
/** Silence, an unanswered PING, and the ticks of the clock between. */
const NOTICED_MS_MAX = 3_000;

let mesh: HostileMesh;
beforeEach(async () => {
  mesh = await startHostileMesh();
});
afterEach(async () => {
  await mesh.stop();
});

const connectionsOpen = async (sidecar: SidecarProcess): Promise<number> =>
  (await sidecar.metrics()).value('gatehouse_connections_open', { direction: 'inbound' });
const callsActive = async (sidecar: SidecarProcess): Promise<number> =>
  (await sidecar.metrics()).value('gatehouse_calls_active', { direction: 'inbound' });

test('a wire that is cut without FIN is noticed by both ends, and calls go on over a new connection', async () => {
  const echo = await mesh.startEcho('echo');
  const inbound = await mesh.startInbound(echo.address, KEEPALIVE);
  const proxy = await startPausableProxy(inbound.inboundAddress);
  await mesh.startEgress({ echo: [proxy.address] }, KEEPALIVE);
  const client = mesh.egressClient('echo');
  const running = startCall(client, 'serverStream', [{ count: 10_000, delayMs: 20 }]);
  await running.firstAnswer;
  expect([await connectionsOpen(inbound), await callsActive(inbound)]).toEqual([1, 1]);

  proxy.cut();
  const cutAtMs = performance.now();
  const { code, message, details } = await running.ended;
  expect([status[code], message]).toEqual(['UNAVAILABLE', expect.stringContaining('PING')]);
  expect(details.errorInfo?.metadata).toMatchObject({ endpoint: proxy.address });
  expect(performance.now() - cutAtMs).toBeLessThan(NOTICED_MS_MAX);
  await vi.waitFor(
    async () => expect([await connectionsOpen(inbound), await callsActive(inbound)]).toEqual([0, 0]),
    { timeout: NOTICED_MS_MAX, interval: 50 },
  );

  proxy.mend();
  await vi.waitFor(
    async () => expect((await run(client, 'unary', [{ text: 'again' }])).code).toBe(status.OK),
    { timeout: 10_000, interval: 100 },
  );
  proxy.close();
}, 40_000);

test('idle connections are asked for a sign of life and stay open', async () => {
  const echo = await mesh.startEcho('echo');
  const inbound = await mesh.startInbound(echo.address, KEEPALIVE);
  await mesh.startEgress({ echo: [inbound.inboundAddress] }, KEEPALIVE);
  const client = mesh.egressClient('echo');
  expect((await run(client, 'unary', [{ text: 'x' }])).code).toBe(status.OK);
  const sinceMs = performance.now();
  await vi.waitFor(() => expect(performance.now() - sinceMs).toBeGreaterThan(4_000), { timeout: 6_000 });
  const metrics = await inbound.metrics();
  expect(metrics.value('gatehouse_connections_open', { direction: 'inbound' })).toBe(1);
  expect(metrics.value('gatehouse_connections_accepted_total', { direction: 'inbound' })).toBe(1);
});

test('an app that is drained and started again under load costs no call', async () => {
  const app = await mesh.startQuickApp('app');
  const inbound = await mesh.startInbound(app.address);
  const steady = startSteadyClient(await mesh.clientOf(inbound, 'good'), 2);
  await vi.waitFor(() => expect(steady.report().calls).toBeGreaterThan(100), { timeout: 10_000 });
  for (let turn = 0, running = app; turn < 3; turn++) {
    const ended = once(running.child, 'exit');
    running.child.kill('SIGTERM');
    await ended;
    running = await mesh.startQuickApp('app');
    const before = steady.report().calls;
    await vi.waitFor(() => expect(steady.report().calls).toBeGreaterThan(before + 100), { timeout: 10_000 });
  }
  const { failures, calls } = await steady.stop();
  expect(calls).toBeGreaterThan(400);
  expect(failures).toEqual([]);
}, 40_000);

test('an app that is killed under load loses the calls that it had, and none that it never got', async () => {
  const app = await mesh.startQuickApp('app');
  const inbound = await mesh.startInbound(app.address);
  const steady = startSteadyClient(await mesh.clientOf(inbound, 'good'), 2);
  await vi.waitFor(() => expect(steady.report().calls).toBeGreaterThan(100), { timeout: 10_000 });
  const ended = once(app.child, 'exit');
  app.child.kill('SIGKILL');
  await ended;
  await mesh.startQuickApp('app');
  const before = steady.report().calls;
  await vi.waitFor(() => expect(steady.report().calls).toBeGreaterThan(before + 300), { timeout: 10_000 });
  const { failures } = await steady.stop();
  // A call that waited for a connection was not at the app; one that had been sent may have been.
  expect(failures.filter((each) => !each.includes('ended the call early'))).toEqual([]);
  expect(failures.length).toBeLessThan(20);
}, 40_000);
