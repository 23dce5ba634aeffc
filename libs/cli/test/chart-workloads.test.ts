/** The sidecar in workloads of a chart that depends on ours: a Deployment, a StatefulSet and a Job of a service that is not ours. */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConfig } from '@gatehouse/sidecar';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { CHART, type HelmRun, type Manifest, manifestsOf, runHelm } from './chart/helm.ts';
import { readKubernetesSchemas } from './chart/kubernetes-schema.ts';
import { TEST_MS_MAX } from './chart/local-pod.ts';
import { freePorts, LocalRelease } from './chart/local-release.ts';
import { podProblems } from './chart/pod-problems.ts';
import { find, helm, podOf, textOf, tools } from './chart/render-chart.ts';
import { ROOT } from './run-cli.ts';

let folder: string;
let chart: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatehouse-workloads-'));
  chart = join(folder, 'greeter');
  await cp(join(CHART, 'examples/greeter'), chart, { recursive: true });
  await mkdir(join(chart, 'charts'));
  await cp(CHART, join(chart, 'charts/gatehouse'), { recursive: true });
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** @param settings of our chart, over those of the example */
function template(settings: object = {}): Promise<HelmRun> {
  const args = ['template', 'hello', chart, '--namespace', 'apps', '--values', '-'];
  return runHelm(helm, args, stringify({ gatehouse: settings }));
}

async function render(settings: object = {}): Promise<Manifest[]> {
  const run = await template(settings);
  expect(run.err).toBe('');
  return manifestsOf(run.out);
}

describe.skipIf('missing' in tools)('the sidecar of a workload that is not ours', () => {
  test('comes with all that it needs into a Deployment, a StatefulSet and a Job', async () => {
    if (!('schemas' in tools)) return;
    const schemas = await readKubernetesSchemas(tools.schemas);
    const manifests = await render();
    const own = manifests.filter(({ kind }) => kind !== 'Certificate');
    expect(own.flatMap((each) => schemas.problems(each))).toEqual([]);
    expect(own.map(({ kind, metadata }) => `${kind} ${metadata.name}`).toSorted()).toEqual([
      'ConfigMap greeter-report-sidecar',
      'ConfigMap greeter-sidecar',
      'ConfigMap greeter-store-sidecar',
      'ConfigMap hello-gatehouse-policy',
      'Deployment greeter',
      'Job greeter-report',
      'NetworkPolicy greeter-report-sidecar',
      'NetworkPolicy greeter-sidecar',
      'NetworkPolicy greeter-store-sidecar',
      'Service greeter',
      'Service greeter-store',
      'ServiceAccount greeter',
      'ServiceAccount greeter-store',
      'StatefulSet greeter-store',
    ]);
    const names = ['greeter', 'greeter-report', 'greeter-store'];
    const elsewhere = [...names.map((name) => `Secret ${name}-identity`), 'ConfigMap greeter-contract'];
    expect(podProblems(manifests, elsewhere)).toEqual([]);
    for (const name of names) {
      const text = textOf(manifests, `${name}-sidecar`, 'sidecar.yaml');
      expect(parseConfig(text, name)).toHaveProperty('config');
    }
  });

  test('shows the SPIFFE ID of the ServiceAccount, which workloads may share', async () => {
    const manifests = await render();
    const uris = (name: string) => find(manifests, 'Certificate', `${name}-identity`).spec?.uris;
    expect(uris('greeter-report')).toEqual(['spiffe://example.org/ns/apps/sa/greeter']);
    expect(uris('greeter-store')).toEqual(['spiffe://example.org/ns/apps/sa/greeter-store']);
  });

  test('has the app of a called workload wait for its drain, with time for it, and holds a Job up in nothing', async () => {
    const manifests = await render();
    const called = podOf(manifests, 'Deployment', 'greeter');
    expect(called.containers[0]?.lifecycle?.preStop.httpGet).toEqual({ path: '/drained?wait', port: 9464 });
    expect(called.terminationGracePeriodSeconds).toBe(41);
    const job = podOf(manifests, 'Job', 'greeter-report');
    expect(job.initContainers?.[0]).toMatchObject({ restartPolicy: 'Always' });
    const lifecycles = [...(job.initContainers ?? []), ...job.containers].map(({ lifecycle }) => lifecycle);
    expect(lifecycles, 'a Job that nobody calls has nothing to drain').toEqual([undefined, undefined]);
  });

  test('runs as a Job that finds its sidecar up, and ends while that is still there', {
    timeout: TEST_MS_MAX,
  }, async () => {
    const release = await LocalRelease.create();
    try {
      const { telemetry } = await freePorts();
      const manifests = await render({ sidecar: { listenAddress: '127.0.0.1', ports: { telemetry } } });
      // One try: a sidecar that was not up yet would fail it.
      const app = `require('node:net').connect('/run/gatehouse/egress.sock').on('connect', () => process.exit(0)).on('error', () => process.exit(1))`;
      const pod = await release.pod({
        pod: podOf(manifests, 'Job', 'greeter-report'),
        manifests,
        elsewhere: { 'Secret greeter-report-identity': await release.identityOf('greeter', 'apps') },
        programs: {
          'gatehouse-sidecar': [process.execPath, join(ROOT, 'sidecar/src/main.ts')],
          report: [process.execPath, '-e', app, '--'],
        },
      });
      await pod.start();
      expect(await pod.ended('report')).toMatchObject({ code: 0 });
      expect(pod.isRunning('gatehouse-sidecar')).toBe(true);
      await pod.end();
      expect(pod.order.at(-1)).toEqual({ what: 'gatehouse-sidecar', code: 0 });
    } finally {
      await release.remove();
    }
  });

  test('keeps its records in a volume of the workload where that has one', async () => {
    const manifests = await render();
    const audit = (kind: string, name: string) =>
      podOf(manifests, kind, name).initContainers?.[0]?.volumeMounts?.find(
        ({ mountPath }) => mountPath === '/var/lib/gatehouse',
      );
    expect(audit('StatefulSet', 'greeter-store')).toMatchObject({ name: 'decisions' });
    expect(audit('Deployment', 'greeter')).toMatchObject({ name: 'gatehouse-audit' });
    expect(audit('Job', 'greeter-report')).toBeUndefined();
  });

  test('may list and watch EndpointSlices where its upstreams are, with a token of its own', async () => {
    const upstreams = [
      {
        name: 'inference',
        identity: 'spiffe://example.org/sa/inference',
        service: 'models/inference',
        port: 8443,
      },
    ];
    const manifests = await render({
      workloads: { greeter: { upstreams } },
      networkPolicy: { egress: { enabled: true } },
    });
    expect(find(manifests, 'Role', 'greeter-endpoints')).toMatchObject({
      metadata: { namespace: 'models' },
      rules: [{ apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] }],
    });
    expect(find(manifests, 'RoleBinding', 'greeter-endpoints')).toMatchObject({
      metadata: { namespace: 'models' },
      subjects: [{ kind: 'ServiceAccount', name: 'greeter', namespace: 'apps' }],
    });
    const mounts = (index: number) =>
      [...(podOf(manifests, 'Deployment', 'greeter').initContainers ?? [])][index]?.volumeMounts?.map(
        ({ name }) => name,
      );
    expect(mounts(0)).toContain('gatehouse-kubernetes-api');
    expect(find(manifests, 'NetworkPolicy', 'greeter-sidecar').spec).toMatchObject({
      policyTypes: ['Ingress', 'Egress'],
      egress: expect.arrayContaining([
        {
          ports: [
            { protocol: 'TCP', port: 443 },
            { protocol: 'TCP', port: 6443 },
          ],
        },
        {
          ports: [{ protocol: 'TCP', port: 8443 }],
          to: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'models' } } }],
        },
      ]),
    });
  });

  test.each([
    [
      'workloads.greeter-report has neither inbound nor upstreams: the sidecar of Job greeter-report would have nothing to do.',
      { workloads: { 'greeter-report': { upstreams: [] } } },
    ],
    [
      'workloads.greeter.secret is missing: identity.source is secret, so set it to the Secret with its tls.crt, tls.key and ca.crt',
      {
        identity: { source: 'secret' },
        workloads: { 'greeter-report': { secret: 'a' }, 'greeter-store': { secret: 'b' } },
      },
    ],
    [
      "at '/workloads/greeter': additional properties 'upstream' not allowed",
      { workloads: { greeter: { upstream: [] } } },
    ],
  ])('is refused with a sentence: %s', async (sentence, settings) => {
    const run = await template(settings);
    expect(run).toMatchObject({ code: 1, out: '' });
    expect(run.err).toContain(sentence);
  });

  test('is refused where the pod has too little time to end, no block of values, or no pods', async () => {
    const own = join(folder, 'own');
    await cp(chart, own, { recursive: true });
    const attach = (workload: object) =>
      writeFile(
        join(own, 'templates/own.yaml'),
        `{{ include "gatehouse.attach" (dict "context" $ "values" .Values.gatehouse "workload" (fromJson ${JSON.stringify(JSON.stringify(workload))})) }}`,
      );
    const said = async () => (await runHelm(helm, ['template', 'hello', own])).err;
    const metadata = { name: 'greeter' };
    const pod = { terminationGracePeriodSeconds: 30, containers: [{ name: 'app' }] };
    await attach({ kind: 'Deployment', metadata, spec: { template: { spec: pod } } });
    expect(await said()).toContain(
      'Deployment greeter has terminationGracePeriodSeconds 30, too short for the drain: sidecar.limits.drainNoticeMs,',
    );
    await attach({ kind: 'Deployment', metadata: { name: 'other' }, spec: { template: { spec: pod } } });
    expect(await said()).toContain(
      'workloads.other is missing: describe the sidecar of Deployment other there, with inbound, upstreams or both.',
    );
    await attach({ kind: 'Service', metadata, spec: {} });
    expect(await said()).toContain(
      'Service greeter cannot have a sidecar: expected a Deployment, StatefulSet,',
    );
  });
});
