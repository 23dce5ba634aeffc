import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type LimitedApp, startLimitedApp } from './support/limited-app.ts';
import { type Offered, offer, PRIORITY_OVERLAY, type PriorityName } from './support/open-loop.ts';
import { readMetrics } from './support/read-metrics.ts';
import { startTestMesh, type TestMesh } from './support/test-mesh.ts';

const METHOD = 'testing.echo.v1.EchoService/Unary';
const PLACES = 4;
const SERVICE_MS = 50;
const CAPACITY_PER_SECOND = (PLACES / SERVICE_MS) * 1000;

/** The algorithm's claims are tested in src/shed, in simulated time; this is one run of the real thing. */
describe('three times as many calls as the app can answer', () => {
  let folder: string;
  let app: LimitedApp;
  let mesh: TestMesh;
  let tallies: Readonly<Record<PriorityName, Offered>>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gh-shed-'));
    app = await startLimitedApp({
      address: `unix:${join(folder, 'app.sock')}`,
      places: PLACES,
      serviceMs: SERVICE_MS,
    });
    mesh = await startTestMesh({
      app: app.address,
      overlay: PRIORITY_OVERLAY,
      limits: { adaptive: { enabled: true, callsMin: 2, waitMsMax: 25 } },
    });
    const client = mesh.client();
    // What it takes when little is going on.
    await offer(client, { perSecond: 40, forMs: 1000, warmUpMs: 0, timeoutMs: 5000 });
    tallies = await offer(client, {
      perSecond: 3 * CAPACITY_PER_SECOND,
      forMs: 4000,
      warmUpMs: 2000,
      timeoutMs: 1000,
    });
  });
  afterAll(async () => {
    await mesh.stop();
    app.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const servedShare = (priority: PriorityName): number =>
    tallies[priority].tookMs.length / tallies[priority].offered;

  test('are turned away with the reason, the limit and when to come again', () => {
    const refusals = Object.values(tallies).flatMap((tally) => tally.refusals);
    expect(refusals.length).toBeGreaterThan(50);
    for (const { message, details } of refusals) {
      expect(['LOAD_SHED', 'DEADLINE_OUT_OF_REACH']).toContain(details.errorInfo?.reason);
      expect(details.retryDelayMs).toBeGreaterThanOrEqual(100);
      expect(message).toContain(METHOD);
    }
  });

  test('low priority is turned away before normal, and normal before high', () => {
    expect(servedShare('high')).toBeGreaterThan(0.6);
    expect(servedShare('high')).toBeGreaterThan(servedShare('normal'));
    expect(servedShare('normal')).toBeGreaterThan(servedShare('low'));
  });

  test('metrics say how many, why, of which priority, and what the limit is', async () => {
    const metrics = readMetrics(await mesh.metrics(mesh.inbound));
    const shed = (priority: PriorityName) =>
      metrics.value('gatehouse_calls_shed_total', { rpc_method: METHOD, reason: 'concurrency', priority });
    expect(shed('low')).toBeGreaterThan(shed('high'));
    expect(metrics.value('gatehouse_app_calls_active', { rpc_method: METHOD })).toBe(0);
    expect(metrics.value('gatehouse_app_calls_limit', { rpc_method: METHOD })).toBeGreaterThanOrEqual(4);
    const unloadedMs = 1000 * metrics.value('gatehouse_app_unloaded_latency_seconds', { rpc_method: METHOD });
    expect(unloadedMs).toBeGreaterThan(SERVICE_MS * 0.9);
    // An egress sidecar has no app.
    expect(await mesh.metrics(mesh.egress)).not.toContain('gatehouse_calls_shed_total{');
  });

  test('afterwards all go through again', async () => {
    const client = mesh.client();
    const calm = { perSecond: 20, forMs: 500, warmUpMs: 0, timeoutMs: 5000 };
    await expect
      .poll(async () => Object.values(await offer(client, calm)).flatMap(({ refusals }) => refusals).length, {
        timeout: 10_000,
      })
      .toBe(0);
  });
});
