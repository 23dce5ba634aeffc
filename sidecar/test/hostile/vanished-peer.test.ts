/** A peer that is gone without FIN or RST, as when its machine loses power: its network is taken away. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type HostileMesh, type SidecarProcess, startHostileMesh } from './support/hostile-mesh.ts';
import { makeNamespace, type NetworkNamespace, whyNoNamespace } from './support/network-namespace.ts';
import { startSteadyClient } from './support/steady-client.ts';

const PEER = fileURLToPath(new URL('./vanishing-peer/main.ts', import.meta.url));
const KEEPALIVE = { keepaliveMs: 500, keepaliveAnswerMsMax: 500 };
/** Silence, an unanswered PING, the ticks of the clock between, and a machine that is busy. */
const NOTICED_MS_MAX = 10_000;

const missing = whyNoNamespace();
if (missing !== '') {
  if (process.env['CI'] === 'true') throw new Error(missing);
  process.stderr.write(`not run: ${missing}\n`);
}

describe.skipIf(missing !== '')(
  `a caller whose network is gone${missing && ` (skipped: ${missing})`}`,
  () => {
    let namespace: NetworkNamespace;
    let mesh: HostileMesh;
    let inbound: SidecarProcess;
    beforeAll(async () => {
      namespace = await makeNamespace(process.pid % 256);
      mesh = await startHostileMesh();
      const app = await mesh.startEcho('echo');
      inbound = await mesh.startInbound(app.address, KEEPALIVE, `${namespace.outerHost}:0`);
    });
    afterAll(async () => {
      await mesh?.stop();
      await namespace?.remove();
    });

    const state = async (): Promise<readonly [number, number]> => {
      const metrics = await inbound.metrics();
      return [
        metrics.value('gatehouse_connections_open', { direction: 'inbound' }),
        metrics.value('gatehouse_calls_active', { direction: 'inbound' }),
      ];
    };

    test('is noticed by its silence: connection and calls are given back, and nobody else loses a call', async () => {
      const steady = startSteadyClient(await mesh.clientOf(inbound, 'good'), 10);
      await vi.waitFor(() => expect(steady.report().calls).toBeGreaterThan(10), { timeout: NOTICED_MS_MAX });
      const [, port = ''] = inbound.inboundAddress.split(':');
      const [command, ...args] = [...namespace.inside, process.execPath, PEER];
      const peer = spawn(command, [...args, namespace.outerHost, port, mesh.folder, 'egress'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      try {
        await once(peer.stdout, 'data');
        const [connections, calls] = await state();
        expect(connections).toBe(2);
        expect(calls).toBeGreaterThanOrEqual(1);

        await namespace.cut();
        await vi.waitFor(async () => expect((await state())[0]).toBe(1), {
          timeout: NOTICED_MS_MAX,
          interval: 50,
        });
        // The peer itself knows of nothing: no FIN and no RST has reached it.
        expect(peer.exitCode).toBeNull();
        const violations = (await inbound.metrics()).samples.filter(
          ({ name, labels }) =>
            name === 'gatehouse_http2_violations_total' && labels['kind'] === 'keepalive-timeout',
        );
        expect(violations.map(({ value }) => value)).toEqual([1]);
      } finally {
        peer.kill('SIGKILL');
      }
      const { failures, calls } = await steady.stop();
      expect(failures).toEqual([]);
      expect(calls).toBeGreaterThan(20);
      await vi.waitFor(async () => expect((await state())[1]).toBe(0), {
        timeout: NOTICED_MS_MAX,
        interval: 50,
      });
    }, 60_000);
  },
);
