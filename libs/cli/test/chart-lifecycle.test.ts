/** What the chart renders for pods, run as processes here: started, called, and ended in the order in which Kubernetes ends them. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { probe, TEST_MS_MAX, until } from './chart/local-pod.ts';
import { freePorts, LocalRelease, listening, ORCHESTRATION_ALONE } from './chart/local-release.ts';
import { MINIMAL, render, tools } from './chart/render-chart.ts';

const NOTICE_MS = 700;
let release: LocalRelease;

beforeEach(async () => {
  release = await LocalRelease.create();
});

afterEach(async () => {
  await release.remove();
});

describe.skipIf('missing' in tools)('a pod that the chart renders', { timeout: TEST_MS_MAX }, () => {
  test('starts its sidecar first, gets ready, drains before the app ends, and ends whole', async () => {
    const ports = await freePorts();
    const pod = await release.orchestration(await render([MINIMAL], listening(ports, NOTICE_MS)));
    const { telemetry } = ports;
    await pod.start();
    await until(async () => (await probe(telemetry, '/readyz')) === 200);
    expect(await probe(ports.service, '/metrics')).toBe(200);

    const begunMs = performance.now();
    await pod.end(
      async () => {
        await until(async () => (await probe(telemetry, '/readyz')) !== 200);
        expect(pod.isRunning('orchestration')).toBe(true);
      },
      async () => {
        expect(performance.now() - begunMs).toBeGreaterThan(NOTICE_MS);
        // Inbound has drained; the sidecar serves the app until it has ended.
        expect([await probe(telemetry, '/drained'), await probe(telemetry, '/livez')]).toEqual([200, 200]);
        const egress = connect(join(pod.folder, 'run/gatehouse/egress.sock'));
        await once(egress, 'connect');
        egress.destroy();
      },
    );
    expect(
      pod.order
        .slice(0, 2)
        .map(({ what }) => what)
        .toSorted(),
    ).toEqual(['hook of gatehouse-sidecar', 'hook of orchestration']);
    expect(pod.order.slice(2).map(({ what }) => what)).toEqual(['orchestration', 'gatehouse-sidecar']);
    expect(pod.order.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
  });

  test('is called through the mesh by the pod of `helm test`, which ends although its sidecar does not', async () => {
    const ports = await freePorts();
    const values = (of: typeof ports) => ({ ...ORCHESTRATION_ALONE, ...listening(of) });
    const called = await release.orchestration(await render([MINIMAL], values(ports)));
    await called.start();
    await until(async () => (await probe(ports.telemetry, '/readyz')) === 200);

    const caller = await render([MINIMAL], values({ ...(await freePorts()), mtls: ports.mtls }));
    const run = async (): Promise<{ code: number | null; lines: string[] }> => {
      const pod = await release.meshTest(caller);
      await pod.start();
      const { code } = await pod.ended('mesh-test');
      expect(pod.isRunning('gatehouse-sidecar')).toBe(true);
      await pod.end();
      expect(pod.order.map(({ what }) => what)).toEqual(['mesh-test', 'gatehouse-sidecar']);
      return { code, lines: pod.output('mesh-test').trim().split('\n') };
    };
    const passed = await run();
    expect(passed.lines).toEqual([
      '✓ orchestration: called through the mesh, and it serves',
      expect.stringMatching(/^✓ orchestration: a call without an identity is turned away \(.+\)$/),
    ]);
    expect(passed.code).toBe(0);
    await called.end();
    const failed = await run();
    expect(failed.lines).toEqual([
      expect.stringContaining('✗ orchestration: expected health through the mesh, and there was'),
      expect.stringContaining('it cannot be reached: ECONNREFUSED'),
    ]);
    expect(failed.code).toBe(1);
  });
});
