import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CircuitState } from '@gatehouse/contracts/admin';
import { HealthCheckResponse_ServingStatus, HealthClient } from '@gatehouse/contracts/health';
import { type EchoServer, startEchoServer } from '@gatehouse/testing';
import { Server, ServerCredentials, type ServiceError, status } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parse, stringify } from 'yaml';
import { explain, getConfig, listCircuits, listDecisions } from './support/admin.ts';
import { run } from './support/calls.ts';
import { readMetrics } from './support/read-metrics.ts';
import {
  OPEN_POLICY,
  spiffe,
  startTestMesh,
  type TestMesh,
  TLS_OPTIONS,
  TRUST_DOMAIN,
} from './support/test-mesh.ts';

const UNARY = 'testing.echo.v1.EchoService/Unary';

describe('admin', () => {
  let mesh: TestMesh;
  beforeAll(async () => {
    mesh = await startTestMesh({ limits: { decisionsKeptMax: 50 } });
    for (let i = 0; i < 12; i++) await run(mesh.client(), 'unary', [{}]);
    const stranger = await mesh.clientAs('stranger');
    for (let i = 0; i < 3; i++) await run(stranger, 'unary', [{}]);
  });
  afterAll(async () => {
    await mesh.stop();
  });

  test('shows the configuration in force with its defaults, the identity and what it knows of the contract', async () => {
    const config = await getConfig(mesh.inbound);
    expect(parse(config.configYaml)).toMatchObject({
      name: 'callee',
      limits: { decisionsKeptMax: 50, callsActiveMax: 10_000 },
      policyFile: join(mesh.folder, 'policy.yaml'),
    });
    expect(config.configYaml).not.toContain('PRIVATE KEY');
    expect(config).toMatchObject({
      identity: spiffe('callee'),
      policyVersion: expect.stringMatching(/^test-1@/),
      policyError: '',
    });
    expect(config.identityExpires?.getTime()).toBeGreaterThan(Date.now());
    expect(config.descriptorsDigest).toMatch(/^[0-9a-f]{64}$/);
  });

  test('lists decisions newest first, as many as asked for, or refusals alone', async () => {
    const all = await listDecisions(mesh.inbound);
    expect(all).toHaveLength(15);
    expect(all.map(({ time }) => time?.getTime() ?? 0)).toEqual(
      all.map(({ time }) => time?.getTime() ?? 0).sort((a, b) => b - a),
    );
    expect(new Set(all.map(({ decisionId }) => decisionId)).size).toBe(15);
    expect(await listDecisions(mesh.inbound, { limit: 5 })).toEqual(all.slice(0, 5));
    const refused = await listDecisions(mesh.inbound, { refusedOnly: true });
    expect(refused).toHaveLength(3);
    expect(refused[0]).toMatchObject({
      allowed: false,
      identity: spiffe('stranger'),
      reason: 'NO_MATCHING_RULE',
      ruleId: '',
    });
    expect(await listDecisions(mesh.inbound, { limit: 2, refusedOnly: true })).toEqual(refused.slice(0, 2));
    expect(all.find(({ allowed }) => allowed)).toMatchObject({
      ruleId: 'caller-may-echo',
      reason: '',
      method: UNARY,
    });
  });

  test('keeps no more decisions than it may', async () => {
    const client = mesh.client();
    await Promise.all(Array.from({ length: 60 }, () => run(client, 'unary', [{}])));
    expect(await listDecisions(mesh.inbound, { limit: 1_000 })).toHaveLength(50);
  });

  test('explains a call that is allowed: the rule that matches, and why each other one does not', async () => {
    const answer = await explain(mesh.inbound, { identity: spiffe('caller'), method: UNARY });
    expect(answer).toMatchObject({ allowed: true, ruleId: 'caller-may-echo', reason: '' });
    expect(answer.rules).toMatchObject([
      { ruleId: 'caller-may-echo', matched: true, mismatch: '' },
      {
        ruleId: 'picky-may-use-small-models',
        matched: false,
        mismatch: `The rule does not name the identity ${spiffe('caller')}.`,
      },
      {
        ruleId: 'anyone-may-check-health',
        matched: false,
        mismatch: `The rule does not name the method ${UNARY}.`,
      },
    ]);
  });

  test('explains a refusal with the first thing that did not match, and as the call itself is decided', async () => {
    const request = { identity: spiffe('picky'), method: UNARY, model: 'large-1' };
    const answer = await explain(mesh.inbound, request);
    expect(answer).toMatchObject({ allowed: false, ruleId: '', reason: 'MODEL_NOT_ALLOWED' });
    expect(answer.rules[1]).toMatchObject({
      ruleId: 'picky-may-use-small-models',
      matched: false,
      mismatch: 'The rule does not name the model large-1.',
    });
    const real = await run(await mesh.clientAs('picky'), 'unary', [{ model: 'large-1' }]);
    expect(real.details.errorInfo?.reason).toBe(answer.reason);
    const unknown = await explain(mesh.inbound, {
      ...request,
      method: 'testing.echo.v1.EchoService/Nothing',
    });
    expect(unknown.rules[0]?.mismatch).toContain('no method');
  });

  test('explains nothing on a sidecar that decides nothing', async () => {
    await expect(explain(mesh.egress, { identity: spiffe('caller'), method: UNARY })).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
    });
  });

  test('lists the circuit of every endpoint on the sidecar that has upstreams', async () => {
    expect((await listCircuits(mesh.inbound)).circuits).toEqual([]);
    const { circuits } = await listCircuits(mesh.egress);
    expect(circuits).toHaveLength(1);
    expect(circuits[0]).toMatchObject({
      upstream: 'echo',
      endpoint: mesh.inbound.inboundAddress,
      state: CircuitState.CIRCUIT_STATE_CLOSED,
      openedBy: '',
      callsActive: 0n,
      failuresTotal: 0n,
    });
    expect(circuits[0]?.successesTotal).toBeGreaterThanOrEqual(12n);
    expect(circuits[0]?.connections).toBeGreaterThan(0);
  });

  test('its socket is open to owner and group alone', async () => {
    const { mode } = await stat(mesh.inbound.adminAddress.slice('unix:'.length));
    expect(mode & 0o777).toBe(0o660);
  });
});

describe('the telemetry port', () => {
  let mesh: TestMesh;
  beforeAll(async () => {
    mesh = await startTestMesh();
  });
  afterAll(async () => {
    await mesh.stop();
  });
  const at = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`http://${mesh.inbound.telemetryAddress}${path}`, init);

  test('is alive, and ready where the app answers without a health service', async () => {
    expect((await at('/livez')).status).toBe(200);
    const ready = await at('/readyz');
    expect([ready.status, await ready.text()]).toEqual([200, 'ready\n']);
    expect((await at('/readyz?verbose')).status).toBe(200);
    expect((await at('/livez', { method: 'HEAD' })).status).toBe(200);
    expect((await fetch(`http://${mesh.egress.telemetryAddress}/readyz`)).status).toBe(200);
  });

  test.each(['/', '/metrics/', '/debug', '/config', '/..%2fmetrics'])('has nothing at %s', async (path) => {
    const answer = await at(path);
    expect([answer.status, await answer.text()]).toEqual([
      404,
      'expected /livez, /readyz, /drained or /metrics\n',
    ]);
  });

  test.each(['POST', 'PUT', 'DELETE'])('takes no %s', async (method) => {
    const answer = await at('/metrics', { method });
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });

  test('gives metrics that Prometheus can read, and that count what was called', async () => {
    for (let i = 0; i < 3; i++) await run(mesh.client(), 'unary', [{}]);
    await run(await mesh.clientAs('stranger'), 'unary', [{}]);
    await new Promise((resolve) => mesh.client().unclassified({}, resolve));
    const answer = await at('/metrics');
    expect(answer.headers.get('content-type')).toContain('text/plain; version=0.0.4');
    const metrics = readMetrics(await answer.text());
    const calls = { rpc_method: UNARY };
    expect(metrics.value('gatehouse_calls_started_total', { direction: 'inbound', ...calls })).toBe(4);
    expect(metrics.value('rpc_server_call_duration_seconds_count', { ...calls, rpc_status_code: 'OK' })).toBe(
      3,
    );
    expect(
      metrics.value('rpc_server_call_duration_seconds_count', {
        ...calls,
        rpc_status_code: 'PERMISSION_DENIED',
      }),
    ).toBe(1);
    expect(
      metrics.value('rpc_server_call_duration_seconds_bucket', {
        ...calls,
        rpc_status_code: 'OK',
        le: '+Inf',
      }),
    ).toBe(3);
    expect(
      metrics.value('gatehouse_refusals_total', { direction: 'inbound', reason: 'NO_MATCHING_RULE' }),
    ).toBe(1);
    const refusedCaller = metrics.samples.find(
      ({ name, labels }) =>
        name === 'gatehouse_caller_calls_total' && labels['identity']?.endsWith('/stranger'),
    );
    expect(refusedCaller).toBeDefined();
    expect(
      metrics.value('gatehouse_caller_calls_total', { ...refusedCaller?.labels, outcome: 'refused' }),
    ).toBe(1);
    expect(metrics.value('gatehouse_identity_expires_timestamp_seconds', {})).toBeGreaterThan(
      Date.now() / 1000,
    );
    const egress = readMetrics(await mesh.metrics(mesh.egress));
    expect(egress.value('gatehouse_calls_started_total', { rpc_method: '_OTHER' })).toBe(1);
    expect(egress.value('gatehouse_circuit_state', { state: 'closed' })).toBe(1);
    expect(egress.value('gatehouse_circuit_state', { state: 'open' })).toBe(0);
    expect(egress.types.get('rpc_client_call_duration_seconds')).toBe('histogram');
  });
});

/** An app with a health service and the echo service's socket address. */
async function startHealthyApp(address: string) {
  const server = new Server();
  const health = new HealthImplementation({ '': 'SERVING', 'testing.echo.v1.EchoService': 'NOT_SERVING' });
  health.addToServer(server);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  return { health, stop: () => server.forceShutdown() };
}

describe('an app with a health service', () => {
  let folder: string;
  let address: string;
  let app: Awaited<ReturnType<typeof startHealthyApp>>;
  let mesh: TestMesh;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gh-app-'));
    address = `unix:${join(folder, 'app.sock')}`;
    app = await startHealthyApp(address);
    const document = parse(OPEN_POLICY) as { rules: { id: string; identities: string[] }[] };
    const [rule] = document.rules.filter(({ id }) => id === 'anyone-may-check-health');
    if (rule) rule.identities = [spiffe('prober')];
    mesh = await startTestMesh({
      app: address,
      policy: stringify({ ...document, trustDomains: [TRUST_DOMAIN] }),
    });
  });
  afterAll(async () => {
    await mesh.stop();
    app.stop();
    await rm(folder, { recursive: true, force: true });
  });

  async function checkAs(
    name: string,
    service = '',
  ): Promise<HealthCheckResponse_ServingStatus | ServiceError> {
    const client = new HealthClient(
      mesh.inbound.inboundAddress ?? '',
      await mesh.credentialsOf(name),
      TLS_OPTIONS,
    );
    return new Promise<HealthCheckResponse_ServingStatus | ServiceError>((resolve) => {
      client.check({ service }, (error, response) => resolve(error ?? response.status));
    }).finally(() => client.close());
  }

  test('answers a check over mTLS to those whom policy allows, and nobody else', async () => {
    expect(await checkAs('prober')).toBe(HealthCheckResponse_ServingStatus.SERVING);
    expect(await checkAs('prober', 'testing.echo.v1.EchoService')).toBe(
      HealthCheckResponse_ServingStatus.NOT_SERVING,
    );
    expect(await checkAs('prober', 'nobody')).toMatchObject({ code: status.NOT_FOUND });
    expect(await checkAs('stranger')).toMatchObject({ code: status.PERMISSION_DENIED });
  });

  const readyz = async (): Promise<[number, string]> => {
    const answer = await fetch(`http://${mesh.inbound.telemetryAddress}/readyz`);
    return [answer.status, await answer.text()];
  };

  test('that does not serve makes its sidecar not ready, with a sentence, and alive all the same', async () => {
    expect(await readyz()).toEqual([200, 'ready\n']);
    app.health.setStatus('', 'NOT_SERVING');
    await vi.waitFor(
      async () => expect(await readyz()).toEqual([503, `the app at ${address} is not serving\n`]),
      5_000,
    );
    expect((await fetch(`http://${mesh.inbound.telemetryAddress}/livez`)).status).toBe(200);
    app.health.setStatus('', 'SERVING');
    await vi.waitFor(async () => expect(await readyz()).toEqual([200, 'ready\n']), 5_000);
  });

  test('that is down makes its sidecar not ready until it is up again', async () => {
    app.stop();
    await vi.waitFor(async () => {
      const [code, text] = await readyz();
      expect(code).toBe(503);
      expect(text).toMatch(`the app at ${address} does not answer: `);
    }, 5_000);
    await rm(address.slice('unix:'.length), { force: true });
    app = await startHealthyApp(address);
    await vi.waitFor(async () => expect(await readyz()).toEqual([200, 'ready\n']), 10_000);
  });

  test('that never was up is not ready from the start', async () => {
    const nowhere = `unix:${join(folder, 'nowhere.sock')}`;
    const other = await startTestMesh({ app: nowhere });
    let echo: EchoServer | undefined;
    try {
      expect((await fetch(`http://${other.inbound.telemetryAddress}/readyz`)).status).toBe(503);
      echo = await startEchoServer({ address: nowhere });
      await vi.waitFor(
        async () => expect((await fetch(`http://${other.inbound.telemetryAddress}/readyz`)).status).toBe(200),
        10_000,
      );
    } finally {
      await other.stop();
      echo?.stop();
    }
  });
});
