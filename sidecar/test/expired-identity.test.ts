/** A sidecar whose own certificate is gone, or has ended while nobody renewed it: what calls and metrics say, and how it is over. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { run } from './support/calls.ts';
import { readMetrics } from './support/read-metrics.ts';
import { spiffe, startTestMesh, type TestMesh } from './support/test-mesh.ts';

const WAIT = { timeout: 20_000, interval: 100 };
const SHORT_MS = 6000;

let mesh: TestMesh;
beforeEach(async () => {
  mesh = await startTestMesh();
});
afterEach(() => mesh.stop());

const identityMetric = async (name: string): Promise<number> =>
  readMetrics(await mesh.metrics(mesh.inbound)).value(`gatehouse_identity_${name}`, {});
const file = (name: string): string => join(mesh.folder, name);
/** Calls over a connection of its own each time, so that there is a handshake. */
const codeOfNewCaller = async (): Promise<status> => {
  const client = await mesh.clientAs('caller');
  return (await run(client, 'unary', [{}])).code;
};

test('a certificate that nobody renews serves until its end; then no peer takes it, metrics say so, and the next good one serves at once', async () => {
  const short = await mesh.authority.issue({
    spiffeId: spiffe('callee'),
    dnsNames: ['localhost'],
    validForMs: SHORT_MS,
  });
  await writeFile(file('callee.key'), short.keyPem);
  await writeFile(file('callee.pem'), short.certificatePem);
  await vi.waitFor(async () => expect(await identityMetric('minutes_left')).toBeLessThan(1), WAIT);
  expect((await run(mesh.client(), 'unary', [{}])).code).toBe(status.OK);

  // What GatehouseIdentityExpiresSoon fires on, long before: here there is less than an hour from the start.
  await vi.waitFor(async () => expect(await identityMetric('minutes_left')).toBeLessThan(0), WAIT);
  expect(await identityMetric('expires_timestamp_seconds')).toBeLessThan(Date.now() / 1000);
  await vi.waitFor(async () => {
    const { code, details } = await run(mesh.client(), 'unary', [{}]);
    expect(code).toBe(status.UNAVAILABLE);
    expect(details.errorInfo?.reason).toMatch(/^(UPSTREAM_UNREACHABLE|CIRCUIT_OPEN)$/);
  }, WAIT);
  expect(await codeOfNewCaller()).toBe(status.UNAVAILABLE);

  await mesh.writeIdentity('callee');
  await vi.waitFor(async () => {
    expect((await run(mesh.client(), 'unary', [{}])).code).toBe(status.OK);
  }, WAIT);
  expect(await identityMetric('minutes_left')).toBeGreaterThan(30);
}, 60_000);

test('files that go missing leave the last good identity in use, metrics say so, and it is over when they are back', async () => {
  await rm(file('callee.pem'));
  await vi.waitFor(async () => expect(await identityMetric('failing')).toBe(1), WAIT);
  expect(await codeOfNewCaller()).toBe(status.OK);
  expect(await identityMetric('minutes_left')).toBeGreaterThan(30);
  await mesh.writeIdentity('callee');
  await vi.waitFor(async () => expect(await identityMetric('failing')).toBe(0), WAIT);
  expect(await codeOfNewCaller()).toBe(status.OK);
}, 60_000);

test('a sidecar does not start with a certificate that has ended: the sentence names it and when', async () => {
  const ended = await mesh.authority.issue({ spiffeId: spiffe('callee'), validForMs: 1 });
  await writeFile(file('callee.key'), ended.keyPem);
  await writeFile(file('callee.pem'), ended.certificatePem);
  await expect(mesh.restartInbound(0)).rejects.toThrow(/ended at \d{4}-/);
}, 60_000);
