import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { status } from '@grpc/grpc-js';
import { expect, test, vi } from 'vitest';
import { type EchoClientType, run, startCall } from './support/calls.ts';
import { spiffe, startTestMesh } from './support/test-mesh.ts';

const UNARY_CALLERS = 8;
const STREAM_CALLERS = 4;

/** Calls without pause until it is stopped: unary calls, and streams of a few answers. */
function startLoad(client: EchoClientType) {
  const failures: string[] = [];
  let calls = 0;
  let running = true;
  const loop = async (call: () => ReturnType<typeof run>, expected: number): Promise<void> => {
    while (running) {
      const ended = await call();
      calls += 1;
      if (ended.code !== status.OK || ended.answers.length !== expected)
        failures.push(`${status[ended.code]} ${ended.message} after ${ended.answers.length} answers`);
    }
  };
  const loops = [
    ...Array.from({ length: UNARY_CALLERS }, () => loop(() => run(client, 'unary', [{ text: 'x' }]), 1)),
    ...Array.from({ length: STREAM_CALLERS / 2 }, () =>
      loop(() => run(client, 'serverStream', [{ count: 20, delayMs: 5 }]), 20),
    ),
    ...Array.from({ length: STREAM_CALLERS / 2 }, () =>
      loop(
        () =>
          run(
            client,
            'bidi',
            Array.from({ length: 10 }, () => ({ delayMs: 5 })),
          ),
        10,
      ),
    ),
  ];
  return {
    failures,
    /** Resolves when so many more calls have ended. */
    more: (count: number) => {
      const until = calls + count;
      return vi.waitFor(() => expect(calls).toBeGreaterThanOrEqual(until), { timeout: 20_000, interval: 10 });
    },
    stop: async () => {
      running = false;
      await Promise.all(loops);
    },
  };
}

test('two sidecars before one app are drained and started again one after the other under load, and no call fails', async () => {
  const mesh = await startTestMesh({ inbounds: 2 });
  const load = startLoad(mesh.client());
  try {
    await load.more(200);
    for (const turn of [0, 1, 0, 1]) {
      const drainingAtMs = performance.now();
      await mesh.inbounds[turn]?.drain();
      // It waits for streams of a tenth of a second, and never for the limit of 25 s.
      expect(performance.now() - drainingAtMs).toBeLessThan(5_000);
      // All of the load is now on the other one, which is drained next.
      await load.more(100);
      // It may still be backed off from when the next one is drained: calls wait for it then.
      await mesh.restartInbound(turn);
    }
    await load.stop();
    expect(load.failures).toEqual([]);
  } finally {
    await load.stop();
    await mesh.stop();
  }
}, 60_000);

test('a connection whose handshake is under way when the drain begins is served, told to go, and does not hold it up', async () => {
  const mesh = await startTestMesh();
  const [host, port] = (mesh.inbound.inboundAddress ?? '').split(':');
  const socket = connect({ host: host ?? '', port: Number(port) });
  await once(socket, 'connect');
  const stream = startCall(mesh.client(), 'serverStream', [{ count: 50, delayMs: 20 }]);
  await stream.firstAnswer;

  const beganAtMs = performance.now();
  const drained = mesh.inbound.drain();
  const issued = await mesh.authority.issue({ spiffeId: spiffe('caller'), validForMs: 60_000 });
  const secured = connectTls({
    socket,
    cert: issued.certificatePem,
    key: issued.keyPem,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
  });
  await once(secured, 'secureConnect');
  const session = connectHttp2('https://localhost', { createConnection: () => secured });
  const [code] = (await once(session, 'goaway')) as [number];
  expect(code).toBe(0);
  await drained;
  expect(performance.now() - beganAtMs).toBeLessThan(10_000);
  expect((await stream.ended).code).toBe(status.OK);
  session.destroy();
  await mesh.stop();
});
