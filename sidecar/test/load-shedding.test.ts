import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type EchoClientType, type Ended, run } from './support/calls.ts';
import { type LimitedApp, startLimitedApp } from './support/limited-app.ts';
import { PRIORITY_NUMBERS, PRIORITY_OVERLAY, type PriorityName } from './support/open-loop.ts';
import { readMetrics } from './support/read-metrics.ts';
import { startTestMesh, type TestMesh } from './support/test-mesh.ts';

const METHOD = 'testing.echo.v1.EchoService/Unary';
const PLACES = 4;
const SERVICE_MS = 50;
/** Callers that each have one call under way at all times: many times what the app computes at once. */
const CALLERS = { low: 10, normal: 10, high: 2 } as const;
const MEASURED_MS = 3000;
/** After a refusal a caller waits; RetryInfo would be kinder, and the test longer. */
const PAUSE_MS = 20;
/** However busy the machine is, the first calls are turned away within this time. */
const SHED_MS_MAX = 30_000;

type Tally = { calls: number; answered: number; readonly refusals: Ended[] };

/** Calls without end. @returns what ends it, with what has come since `measure` was called */
function call(client: EchoClientType, priority: PriorityName) {
  let running = true;
  let tally: Tally = { calls: 0, answered: 0, refusals: [] };
  const loop = (async () => {
    while (running) {
      const ended = await run(client, 'unary', [{ count: PRIORITY_NUMBERS[priority] }]);
      tally.calls += 1;
      if (ended.code === status.OK) tally.answered += 1;
      else tally.refusals.push(ended);
      if (ended.code !== status.OK) await delay(PAUSE_MS);
    }
  })();
  return {
    measure: () => {
      tally = { calls: 0, answered: 0, refusals: [] };
    },
    stop: async () => {
      running = false;
      await loop;
      return tally;
    },
  };
}

/** The algorithm's claims are tested in src/shed, in simulated time; this is one run of the real thing. */
describe('more calls than the app can answer', () => {
  let folder: string;
  let app: LimitedApp;
  let mesh: TestMesh;
  const tallies: Record<PriorityName, Tally[]> = { low: [], normal: [], high: [] };

  const shed = async (priority: PriorityName): Promise<number> =>
    readMetrics(await mesh.metrics(mesh.inbound)).value('gatehouse_calls_shed_total', {
      rpc_method: METHOD,
      reason: 'concurrency',
      priority,
    });

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
    for (let i = 0; i < 40; i++) await run(client, 'unary', [{}]);
    const names = ['low', 'normal', 'high'] as const;
    const callers = names.map((name) => Array.from({ length: CALLERS[name] }, () => call(client, name)));
    await vi.waitFor(async () => expect(await shed('low')).toBeGreaterThan(20), {
      timeout: SHED_MS_MAX,
      interval: 100,
    });
    for (const caller of callers.flat()) caller.measure();
    await delay(MEASURED_MS);
    for (const [index, name] of names.entries())
      tallies[name] = await Promise.all((callers[index] ?? []).map((caller) => caller.stop()));
  }, 60_000);
  afterAll(async () => {
    await mesh.stop();
    app.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const servedShare = (priority: PriorityName): number => {
    const sum = (key: 'calls' | 'answered') =>
      tallies[priority].reduce((total, tally) => total + tally[key], 0);
    return sum('answered') / sum('calls');
  };

  test('are turned away with the reason, the limit and when to come again', () => {
    const refusals = Object.values(tallies).flatMap((each) => each.flatMap((tally) => tally.refusals));
    expect(refusals.length).toBeGreaterThan(20);
    for (const { code, message, details } of refusals) {
      expect([status[code], details.errorInfo?.reason]).toEqual(['RESOURCE_EXHAUSTED', 'LOAD_SHED']);
      expect(details.retryDelayMs).toBeGreaterThanOrEqual(100);
      expect(message).toContain(METHOD);
    }
  });

  test('low priority is turned away before normal, and normal before high', () => {
    expect(servedShare('high')).toBeGreaterThan(0.5);
    expect(servedShare('high')).toBeGreaterThan(servedShare('normal'));
    expect(servedShare('normal')).toBeGreaterThan(servedShare('low'));
  });

  test('metrics say how many, why, of which priority, and what the limit is', async () => {
    const metrics = readMetrics(await mesh.metrics(mesh.inbound));
    expect(await shed('low')).toBeGreaterThan(await shed('high'));
    expect(metrics.value('gatehouse_app_calls_active', { rpc_method: METHOD })).toBe(0);
    expect(metrics.value('gatehouse_app_calls_limit', { rpc_method: METHOD })).toBeGreaterThanOrEqual(4);
    const unloadedMs = 1000 * metrics.value('gatehouse_app_unloaded_latency_seconds', { rpc_method: METHOD });
    expect(unloadedMs).toBeGreaterThan(SERVICE_MS * 0.9);
    // An egress sidecar has no app.
    expect(await mesh.metrics(mesh.egress)).not.toContain('gatehouse_calls_shed_total{');
  });

  test('afterwards all go through again', async () => {
    const client = mesh.client();
    const calmCalls = () =>
      Promise.all(
        Array.from({ length: PLACES }, () => run(client, 'unary', [{ count: PRIORITY_NUMBERS.low }])),
      );
    const codes = (ended: readonly Ended[]) => ended.map(({ code }) => status[code]);
    await expect
      .poll(async () => codes(await calmCalls()), { timeout: 20_000 })
      .toEqual(Array.from({ length: PLACES }, () => 'OK'));
  });
});
