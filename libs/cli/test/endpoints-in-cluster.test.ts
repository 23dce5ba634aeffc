/** The sidecar of a pod that the chart renders follows the EndpointSlices of a real API server, with what the chart gives it. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeStatusDetails, STATUS_DETAILS_KEY } from '@gatehouse/contracts';
import { createAuthority } from '@gatehouse/identity';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../../sidecar/test/conformance/support/free-port.ts';
import { type ApiServer, startApiServer } from './chart/api-server.ts';
import { clusterTools, type HelmRun, type Manifest } from './chart/helm.ts';
import { LocalPod } from './chart/local-pod.ts';
import { find, MINIMAL, podOf, render } from './chart/render-chart.ts';
import { ROOT } from './run-cli.ts';

const NAMESPACE = 'models';
const NAME = 'mesh-gatehouse-orchestration';
const UPSTREAM = 'mesh-gatehouse-inference';
const ACCOUNT = `system:serviceaccount:${NAMESPACE}:${NAME}`;
const WAIT = { timeout: 60_000, interval: 20 };
const CHANGES = 5;
/** The API server takes ten seconds to start, and more on a machine that has other work. */
const TEST_MS_MAX = 300_000;

const cluster = await clusterTools();

describe.skipIf('missing' in cluster)('a pod beside a real API server', { timeout: TEST_MS_MAX }, () => {
  let server: ApiServer;
  let pod: LocalPod;
  let manifests: readonly Manifest[];
  let telemetry: number;

  const kubectl = (args: readonly string[], input?: object): Promise<string> =>
    server.must([...args, '--namespace', NAMESPACE], input === undefined ? '' : JSON.stringify(input));
  const apply = (object: object): Promise<string> => kubectl(['apply', '--server-side', '-f', '-'], object);
  const newToken = async (): Promise<string> => (await kubectl(['create', 'token', NAME])).trim();

  const metrics = async (): Promise<string> => (await fetch(`http://127.0.0.1:${telemetry}/metrics`)).text();
  /** The value of a metric of the upstream that is watched. */
  const metric = async (name: string): Promise<number> => {
    const line = new RegExp(`^gatehouse_${name}\\{upstream="inference",[^}]*\\} (\\d+)$`, 'm');
    return Number(line.exec(await metrics())?.[1]);
  };
  const known = (): Promise<number> => metric('endpoints');
  const failing = (): Promise<number> => metric('endpoint_source_failing');
  /** What the API server has answered for this upstream, each watch once. */
  const asked = async () =>
    (await server.audit())
      .filter(
        ({ userAgent, requestURI, stage, verb, responseStatus }) =>
          userAgent === 'gatehouse-sidecar' &&
          requestURI.includes(UPSTREAM) &&
          responseStatus?.code === 200 &&
          (verb !== 'watch' || stage === 'ResponseStarted'),
      )
      .map(({ verb, user }) => `${verb} as ${user.username}`);

  /** Runs the line of the runbook that begins so. */
  const runbook = async (beginning: string): Promise<HelmRun> => {
    const page = await readFile(join(ROOT, 'docs/runbooks/GatehouseEndpointSourceFails.md'), 'utf8');
    const line = page.split('\n').find((each) => each.startsWith(beginning)) ?? '';
    const filled = Object.entries({ NAMESPACE, ACCOUNT: NAME, SERVICE: UPSTREAM }).reduce(
      (said, [from, to]) => said.replaceAll(new RegExp(`\\b${from}\\b`, 'g'), to),
      line,
    );
    return server.kubectl(filled.split(' ').slice(1));
  };

  /** What the ServiceAccount may do, what everybody may who has an account left out. */
  const rightsIn = async (namespace: string): Promise<string[]> => {
    const args = ['auth', 'can-i', '--list', '--no-headers', '--as', ACCOUNT, '--namespace', namespace];
    const lines = (await server.must(args)).trim().split('\n');
    return lines
      .map((line) => line.replaceAll(/ +/g, ' ').trim())
      .filter((line) => !/^(\[|selfsubject)/.test(line));
  };

  beforeAll(async () => {
    if ('missing' in cluster) return;
    server = await startApiServer(cluster);
    telemetry = await freePort();
    manifests = await render([MINIMAL], {
      orchestration: { discovery: 'kubernetes' },
      telemetry: { servicePort: await freePort() },
      sidecar: { listenAddress: '127.0.0.1', ports: { mtls: await freePort(), telemetry } },
    });
    await server.must(['create', 'namespace', NAMESPACE]);
    await apply(find(manifests, 'ServiceAccount', NAME));
    pod = await createPod(manifests, server, await newToken());
    await pod.start();
  }, TEST_MS_MAX);

  afterAll(async () => {
    await pod?.remove();
    await server?.close();
  });

  test('starts without the Role, says that it may not watch, and refuses calls', async () => {
    expect((await runbook('kubectl auth can-i')).out).toBe('no\n');
    await expect.poll(failing, WAIT).toBe(1);
    expect(await known()).toBe(0);
    expect(pod.output('gatehouse-sidecar')).toMatch(
      /403 endpointslices\.discovery\.k8s\.io is forbidden: User \\"system:serviceaccount:models:mesh-gatehouse-orchestration\\" cannot list resource/,
    );
    expect(await reasonOfCall(pod)).toBe('NO_ENDPOINTS');
  });

  test('knows the ready pods of its upstream with the Role of the chart, which allows nothing else', async () => {
    await apply(slice([true, true, false]));
    await apply(find(manifests, 'Role', `${NAME}-endpoints`));
    await apply(find(manifests, 'RoleBinding', `${NAME}-endpoints`));
    await expect.poll(failing, WAIT).toBe(0);
    await expect.poll(known, WAIT).toBe(2);
    expect((await runbook('kubectl auth can-i')).out).toBe('yes\n');
    expect((await runbook('kubectl get endpointslices')).out).toContain(`${UPSTREAM}-a`);
    expect(await rightsIn(NAMESPACE)).toEqual(['endpointslices.discovery.k8s.io [] [] [list watch]']);
    expect(await rightsIn('default')).toEqual([]);
    expect(await asked()).toEqual([`list as ${ACCOUNT}`, `watch as ${ACCOUNT}`]);
  });

  test('has each change of readiness within a second', async () => {
    for (let change = 1; change <= CHANGES; change += 1) {
      const ready = change % 2 === 1;
      await apply(slice([true, true, ready]));
      const writtenAtMs = performance.now();
      await expect.poll(known, WAIT).toBe(ready ? 3 : 2);
      expect(performance.now() - writtenAtMs).toBeLessThan(1_000);
    }
  });

  test('keeps what it knows while the server is away, and lists anew where the past is forgotten', async () => {
    await apply(slice([true, true, true]));
    await expect.poll(known, WAIT).toBe(3);
    const before = (await asked()).length;
    const failures = await metric('endpoint_source_failures_total');
    // Revisions that the watch has not seen, and that the server will not know any more.
    await apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'other' }, data: { a: '1' } });
    await apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'other' }, data: { a: '2' } });
    await server.compact();
    await server.kill();
    await expect.poll(failing, WAIT).toBe(1);
    expect(await known()).toBe(3);
    expect((await fetch(`http://127.0.0.1:${telemetry}/livez`)).status).toBe(200);
    await server.start();
    await expect.poll(failing, WAIT).toBe(0);
    expect(await known()).toBe(3);
    expect(await metric('endpoint_source_failures_total')).toBeGreaterThan(failures);
    await apply(slice([true, false, false]));
    await expect.poll(known, WAIT).toBe(1);
    // The watch from where it was is told that this is too old.
    expect((await asked()).slice(before)).toEqual(
      ['watch', 'list', 'watch'].map((verb) => `${verb} as ${ACCOUNT}`),
    );
  });

  test('is refused with a token that counts no more, and goes on with the renewed one', async () => {
    await kubectl(['delete', 'serviceaccount', NAME]);
    await apply(find(manifests, 'ServiceAccount', NAME));
    // A watch that stands is not asked for its token again.
    await server.kill();
    await server.start();
    await expect.poll(() => pod.output('gatehouse-sidecar'), WAIT).toContain('401 Unauthorized');
    expect([await failing(), await known()]).toEqual([1, 1]);
    await writeFile(join(pod.folder, 'etc/gatehouse/kubernetes-api/token'), await newToken());
    await expect.poll(failing, WAIT).toBe(0);
    await apply(slice([true, true, true]));
    await expect.poll(known, WAIT).toBe(3);
  });
});

async function createPod(
  manifests: readonly Manifest[],
  { caFile, url }: ApiServer,
  token: string,
): Promise<LocalPod> {
  const authority = await createAuthority({
    trustDomain: 'example.org',
    clock: Date.now,
    validForMs: 3_600_000,
  });
  const issued = await authority.issue({
    spiffeId: `spiffe://example.org/ns/${NAMESPACE}/sa/${NAME}`,
    validForMs: 3_600_000,
  });
  const run = (path: string): string[] => [process.execPath, join(ROOT, path)];
  return LocalPod.create({
    pod: podOf(manifests, 'Deployment', NAME),
    manifests,
    programs: {
      'gatehouse-sidecar': run('sidecar/src/main.ts'),
      orchestration: run('services/orchestration/src/main.ts'),
    },
    elsewhere: {
      'Secret orchestration-identity': {
        'tls.crt': issued.certificatePem,
        'tls.key': issued.keyPem,
        'ca.crt': authority.bundlePem,
      },
      'ConfigMap kube-root-ca.crt': { 'ca.crt': await readFile(caFile, 'utf8') },
      'Volume gatehouse-kubernetes-api': { token },
    },
    // In a cluster it has the name that is the default.
    addresses: { 'kubernetes:\n': `kubernetes:\n  apiServer: ${url}\n` },
  });
}

/** A slice of the upstream's Service with a pod for each, ready or not. The addresses are nobody's (RFC 5737). */
function slice(ready: readonly boolean[]): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${UPSTREAM}-a`, labels: { 'kubernetes.io/service-name': UPSTREAM } },
    addressType: 'IPv4',
    endpoints: ready.map((each, index) => ({
      addresses: [`192.0.2.${index + 10}`],
      conditions: { ready: each, serving: each, terminating: false },
    })),
    ports: [{ name: 'grpc-mtls', protocol: 'TCP', port: 8443 }],
  };
}

/** Why the sidecar refuses a call of its app to the upstream. */
function reasonOfCall(pod: LocalPod): Promise<string | undefined> {
  const client = new Client(
    `unix:${join(pod.folder, 'run/gatehouse/egress.sock')}`,
    credentials.createInsecure(),
    {
      'grpc.default_authority': 'inference',
    },
  );
  const bytes = (each: Buffer): Buffer => each;
  return new Promise((resolve) => {
    const answered = (error: ServiceError | null): void => {
      client.close();
      resolve(error === null ? undefined : reasonIn(error));
    };
    client.makeUnaryRequest('/grpc.health.v1.Health/Check', bytes, bytes, Buffer.alloc(0), answered);
  });
}

function reasonIn({ metadata }: ServiceError): string | undefined {
  const [details] = metadata.get(STATUS_DETAILS_KEY);
  return details instanceof Buffer ? decodeStatusDetails(details).errorInfo?.reason : undefined;
}
