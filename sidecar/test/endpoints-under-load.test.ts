import { status } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { type ApiServer, startApiServer } from './support/api-server.ts';
import { type EchoClientType, run, startCall } from './support/calls.ts';
import { startTestMesh, type TestMesh } from './support/test-mesh.ts';

const WAIT = { timeout: 10_000, interval: 10 };

/** What Kubernetes does: an inbound sidecar in a slice of its own, ready or not, or gone. */
function pods(api: ApiServer, mesh: TestMesh) {
  const port = (index: number): number => Number(mesh.inbounds[index]?.inboundAddress?.split(':')[1]);
  return {
    show: (index: number, ready = true) =>
      api.put('echo', `echo-${index}`, {
        endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready, serving: true, terminating: !ready } }],
        ports: [{ name: 'mtls', port: port(index) }],
      }),
    remove: (index: number) => api.put('echo', `echo-${index}`, null),
  };
}

async function meshOn(api: ApiServer, inbounds: number): Promise<TestMesh> {
  return startTestMesh({
    inbounds,
    upstream: { service: 'prod/echo', port: 'mtls' },
    kubernetes: { apiServer: api.url, caFile: api.caFile, tokenFile: api.tokenFile },
  });
}

const endpoints = async (mesh: TestMesh, state: string): Promise<number> => {
  const line = new RegExp(`^gatehouse_endpoints\\{upstream="echo",state="${state}"\\} (\\d+)$`, 'm');
  return Number(line.exec(await mesh.metrics(mesh.egress))?.[1]);
};

function startLoad(client: EchoClientType) {
  const failures: string[] = [];
  let calls = 0;
  let running = true;
  const loop = async (kind: 'unary' | 'serverStream', count: number): Promise<void> => {
    while (running) {
      const ended = await run(client, kind, [{ text: 'x', count, delayMs: 5 }]);
      calls += 1;
      if (ended.code !== status.OK) failures.push(`${status[ended.code]} ${ended.message}`);
    }
  };
  const loops = [1, 2, 3, 4, 5, 6].map((each) => loop(each > 4 ? 'serverStream' : 'unary', 20));
  return {
    failures,
    more: async (count: number) => {
      const until = calls + count;
      await expect.poll(() => calls, WAIT).toBeGreaterThanOrEqual(until);
    },
    stop: async () => {
      running = false;
      await Promise.all(loops);
    },
  };
}

test('from one endpoint to four and back, as EndpointSlices say, no call fails, and all four have had calls', async () => {
  const api = await startApiServer();
  const mesh = await meshOn(api, 4);
  const { show, remove } = pods(api, mesh);
  show(0);
  await expect.poll(() => endpoints(mesh, 'present'), WAIT).toBe(1);
  const load = startLoad(mesh.client());
  try {
    await load.more(30);
    for (const index of [1, 2, 3]) {
      show(index);
      await expect.poll(() => endpoints(mesh, 'present'), WAIT).toBe(index + 1);
      await load.more(40);
    }
    for (const index of [0, 1, 2]) {
      // As a pod ends: it is not ready any more and drains at the same time, and is gone in the end.
      show(index, false);
      await mesh.inbounds[index]?.drain();
      remove(index);
      await load.more(40);
    }
    expect(await endpoints(mesh, 'present')).toBe(1);
    await load.stop();
    expect(load.failures).toEqual([]);
    const served = await mesh.metrics(mesh.inbounds[3] as TestMesh['inbound']);
    expect(served).toMatch(
      /gatehouse_calls_started_total\{direction="inbound",rpc_method="[^"]+Unary"\} [1-9]/,
    );
  } finally {
    await load.stop();
    await mesh.stop();
    await api.close();
  }
}, 60_000);

test('a stream goes on where its endpoint has left, new calls go elsewhere at once, and it is closed after its last call', async () => {
  const api = await startApiServer();
  const mesh = await meshOn(api, 2);
  const { show, remove } = pods(api, mesh);
  try {
    show(0);
    await expect.poll(() => endpoints(mesh, 'present'), WAIT).toBe(1);
    const client = mesh.client();
    const stream = startCall(client, 'bidi', [{ text: 'one' }], { keepOpen: true });
    await stream.firstAnswer;
    show(1);
    await expect.poll(() => endpoints(mesh, 'present'), WAIT).toBe(2);
    const changedAtMs = performance.now();
    remove(0);
    await expect.poll(() => endpoints(mesh, 'leaving'), WAIT).toBe(1);
    expect(performance.now() - changedAtMs).toBeLessThan(1_000);
    const { inboundAddress = '' } = mesh.inbounds[0] ?? {};
    for (let calls = 0; calls < 10; calls += 1)
      expect((await run(client, 'unary', [{}])).code).toBe(status.OK);
    const before = await mesh.metrics(mesh.inbound);
    expect(before).not.toContain('Unary');
    expect(await mesh.metrics(mesh.egress)).not.toContain(`endpoint="${inboundAddress}"`);
    // It still answers.
    stream.send({ text: 'two' });
    stream.end();
    const ended = await stream.ended;
    expect([ended.code, ended.answers.length]).toEqual([status.OK, 2]);
    await expect.poll(() => endpoints(mesh, 'leaving'), WAIT).toBe(0);
    await expect
      .poll(() => mesh.metrics(mesh.inbound), WAIT)
      .toContain('gatehouse_connections_open{direction="inbound"} 0');
  } finally {
    await mesh.stop();
    await api.close();
  }
});

test('without an endpoint a call is refused by that name, and goes through once there is one', async () => {
  const api = await startApiServer();
  const mesh = await meshOn(api, 1);
  try {
    const client = mesh.client();
    const refused = await run(client, 'unary', [{}]);
    expect([refused.code, refused.message]).toEqual([
      status.UNAVAILABLE,
      'Upstream echo has no endpoint that is ready at the moment.',
    ]);
    expect(refused.details.errorInfo?.reason).toBe('NO_ENDPOINTS');
    pods(api, mesh).show(0);
    await expect.poll(async () => (await run(client, 'unary', [{}])).code, WAIT).toBe(status.OK);
    await api.stop();
    await expect
      .poll(() => mesh.metrics(mesh.egress), WAIT)
      .toContain('gatehouse_endpoint_source_failing{upstream="echo",source="kubernetes"} 1');
    expect((await run(client, 'unary', [{}])).code).toBe(status.OK);
  } finally {
    await mesh.stop();
    await api.close();
  }
});

test('a name is looked up, and each of its addresses is an endpoint', async () => {
  const inner = await startTestMesh();
  const port = inner.inbound.inboundAddress?.split(':')[1] ?? '';
  const mesh = await startTestMesh({
    upstream: { dns: `localhost:${port}` },
    limits: { endpointsRefreshMs: 100 },
  });
  try {
    const metrics = await mesh.metrics(mesh.egress);
    expect(metrics).toMatch(/gatehouse_endpoints\{upstream="echo",state="present"\} [1-9]/);
    expect(metrics).toContain('gatehouse_endpoint_source_failing{upstream="echo",source="dns"} 0');
    expect(metrics).toContain(`endpoint="127.0.0.1:${port}"`);
  } finally {
    await mesh.stop();
    await inner.stop();
  }
});
