/** The chart with a real Helm: what it renders is checked against Kubernetes' schemas and by the programs that read it. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { compilePolicy, loadContractFiles, parseConfig, runExpectations } from '@gatehouse/sidecar';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { embeddingsConfig } from '../../../services/embeddings/src/config.ts';
import { inferenceConfig } from '../../../services/inference/src/config.ts';
import { orchestrationConfig } from '../../../services/orchestration/src/config.ts';
import { CHART, type Manifest, runHelm } from './chart/helm.ts';
import { type KubernetesSchemas, readKubernetesSchemas } from './chart/kubernetes-schema.ts';
import { podProblems } from './chart/pod-problems.ts';
import {
  CERT_MANAGER,
  ELSEWHERE,
  find,
  helm,
  MATRIX,
  MINIMAL,
  podOf,
  REMOTE_MODELS,
  render,
  template,
  textOf,
  tools,
} from './chart/render-chart.ts';

let folder: string;
let schemas: KubernetesSchemas;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatehouse-chart-'));
  if ('schemas' in tools) schemas = await readKubernetesSchemas(tools.schemas);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const SERVICE_CONFIGS: Readonly<Record<string, { parse(value: unknown): unknown }>> = {
  inference: inferenceConfig,
  embeddings: embeddingsConfig,
  orchestration: orchestrationConfig,
};

/** Kinds that others bring to a cluster, whose schemas are not Kubernetes'. */
const FOREIGN = new Set(['Certificate', 'PrometheusRule', 'PodMonitor', 'ScaledObject']);

describe.skipIf('missing' in tools)('the chart', () => {
  test.each(MATRIX)('passes helm lint: $name', async ({ files }) => {
    const args = ['lint', '--strict', CHART, ...files.flatMap((file) => ['--values', file])];
    expect(await runHelm(helm, args)).toMatchObject({ code: 0 });
  });

  test.each(MATRIX)('renders objects that Kubernetes knows, key by key: $name', async ({ files }) => {
    const manifests = await render(files);
    const foreign = manifests.filter(({ kind }) => FOREIGN.has(kind));
    const own = manifests.filter((each) => !foreign.includes(each));
    expect(own.flatMap((each) => schemas.problems(each))).toEqual([]);
    const names = manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(new Set(names).size, 'each object once').toBe(names.length);
  });

  test.each(MATRIX)(
    'keeps pods restricted and lets them name only what is there: $name',
    async ({ files }) => {
      expect(podProblems(await render(files), ELSEWHERE)).toEqual([]);
    },
  );

  test.each(MATRIX)('renders configurations that sidecars and services accept: $name', async ({ files }) => {
    const manifests = await render(files);
    const texts = (key: string) => manifests.flatMap(({ data }) => data?.[key] ?? []);
    const [sidecars, services] = [texts('sidecar.yaml'), texts('service.yaml')];
    expect(services.length).toBeGreaterThan(0);
    const tests = manifests.filter(({ kind }) => kind === 'Pod');
    expect(sidecars).toHaveLength(services.length + tests.length);
    for (const text of sidecars) expect(parseConfig(text, 'sidecar.yaml')).toHaveProperty('config');
    for (const text of services) {
      const config = parse(text) as { readonly name: string };
      expect(() => SERVICE_CONFIGS[config.name]?.parse(config)).not.toThrow();
      expect(SERVICE_CONFIGS).toHaveProperty(config.name);
    }
  });

  test('renders a policy under which orchestration reaches its models, and nobody else anything', async () => {
    const text = textOf(await render([MINIMAL]), 'mesh-gatehouse-policy', 'policy.yaml');
    const loaded = await loadContractFiles({ overlayFiles: [] });
    if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
    const compiled = compilePolicy(text, { contract: loaded.contract, fileName: 'policy' });
    if ('problems' in compiled) throw new Error(JSON.stringify(compiled.problems));
    const orchestration = 'spiffe://example.org/ns/models/sa/mesh-gatehouse-orchestration';
    const generate = 'gatehouse.inference.v1.InferenceService/Generate';
    const embed = 'gatehouse.embeddings.v1.EmbeddingsService/Embed';
    const ask = (from: string, to: string, model: string, answer: string) => ({
      from,
      to,
      model,
      expect: answer,
    });
    const expectations = [
      ask(orchestration, generate, 'smollm2-135m-instruct', 'allow'),
      ask(orchestration, embed, 'all-minilm-l6-v2', 'allow'),
      ask(orchestration, generate, 'another', 'deny'),
      ask('spiffe://example.org/ns/models/sa/mesh-gatehouse-inference', embed, 'all-minilm-l6-v2', 'deny'),
    ];
    const ran = runExpectations(stringify(expectations), {
      policy: compiled.policy,
      fileName: 'asked',
      nowMs: 0,
    });
    expect(ran).toMatchObject({ results: expectations.map(() => ({ passed: true })) });
  });

  test('renders the rules of its user into a policy that sidecars accept', async () => {
    const text = textOf(await render([REMOTE_MODELS]), 'mesh-gatehouse-policy', 'policy.yaml');
    const loaded = await loadContractFiles({ overlayFiles: [] });
    if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
    const compiled = compilePolicy(text, { contract: loaded.contract, fileName: 'policy' });
    expect(compiled).not.toHaveProperty('problems');
    expect(parse(text)).toMatchObject({
      trustDomains: ['example.org', 'partner.example'],
      rules: [
        { id: 'orchestration-may-call-inference' },
        { id: 'partner-may-generate' },
        { id: 'staff-may-orchestrate' },
      ],
    });
  });

  test('is held against checks that can fail', async () => {
    const manifests = await render([MINIMAL]);
    const planted = JSON.parse(
      JSON.stringify(find(manifests, 'Deployment', 'mesh-gatehouse-inference')),
      (key, value) => {
        if (key === 'replicas') return 'one';
        if (key === 'selector') return undefined;
        if (key === 'allowPrivilegeEscalation') return true;
        return key === 'strategy' ? { typ: 'Recreate' } : (value as unknown);
      },
    ) as Manifest;
    expect(schemas.problems(planted)).toEqual([
      'Deployment mesh-gatehouse-inference.spec.selector: required',
      'Deployment mesh-gatehouse-inference.spec.replicas: is string, expected integer',
      'Deployment mesh-gatehouse-inference.spec.strategy.typ: unknown key',
    ]);
    expect(schemas.problems({ ...planted, apiVersion: 'apps/v2' })).toEqual([
      'apps/v2 Deployment: no such kind',
    ]);
    expect(podProblems([planted], ELSEWHERE)).toEqual(
      expect.arrayContaining([
        'mesh-gatehouse-inference: container inference is not restricted',
        'mesh-gatehouse-inference: ServiceAccount mesh-gatehouse-inference is not there',
      ]),
    );
  });

  test('starts the sidecar before the app, and asks of it what does not wait for the app', async () => {
    const pod = podOf(await render([MINIMAL]), 'Deployment', 'mesh-gatehouse-orchestration');
    expect(pod.initContainers?.[0]).toMatchObject({
      name: 'gatehouse-sidecar',
      restartPolicy: 'Always',
      startupProbe: { httpGet: { path: '/livez' } },
      livenessProbe: { httpGet: { path: '/livez' } },
      readinessProbe: { httpGet: { path: '/readyz' } },
    });
  });

  test('restarts pods for a new configuration, and not for a new policy', async () => {
    const annotations = async (settings: object) =>
      find(await render([MINIMAL], settings), 'Deployment', 'mesh-gatehouse-inference').spec?.template
        ?.metadata.annotations ?? {};
    const before = await annotations({});
    const rule = {
      id: 'x',
      effect: 'ALLOW',
      identities: ['spiffe://example.org/a'],
      permissions: ['models.read'],
    };
    expect(await annotations({ policy: { rules: [rule] } })).toEqual(before);
    const limits = await annotations({ sidecar: { limits: { callsActiveMax: 5 } } });
    expect(limits['gatehouse.dev/sidecar-config']).not.toBe(before['gatehouse.dev/sidecar-config']);
    const level = await annotations({ inference: { logLevel: 'debug' } });
    expect(level['gatehouse.dev/service-config']).not.toBe(before['gatehouse.dev/service-config']);
  });

  test('asks cert-manager for an X.509 SVID of the ServiceAccount', async () => {
    const manifests = await render([CERT_MANAGER]);
    expect(find(manifests, 'Certificate', 'gatehouse-inference-identity').spec).toEqual({
      secretName: 'gatehouse-inference-identity',
      duration: '24h',
      renewBefore: '8h',
      uris: ['spiffe://example.org/ns/models/sa/gatehouse-inference'],
      dnsNames: ['gatehouse-inference.models.svc', 'gatehouse-inference.models', 'gatehouse-inference'],
      usages: ['digital signature', 'server auth', 'client auth'],
      privateKey: { algorithm: 'ECDSA', size: 256, rotationPolicy: 'Always' },
      issuerRef: { name: 'mesh', kind: 'ClusterIssuer', group: 'cert-manager.io' },
    });
    expect(podOf(manifests, 'Deployment', 'gatehouse-inference').serviceAccountName).toBe(
      'gatehouse-inference',
    );
  });

  test('renders what was last looked at', async () => {
    const { out } = await template([MINIMAL]);
    await expect(out).toMatchFileSnapshot(join(CHART, 'tests/golden/minimal.txt'));
  });

  test('renders with the values that its README begins with', async () => {
    const [, values = ''] =
      /^```yaml\n([\s\S]*?)^```/m.exec(await readFile(join(CHART, 'README.md'), 'utf8')) ?? [];
    const run = await runHelm(helm, ['template', 'mesh', CHART, '--values', '-'], values);
    expect(run.err).toBe('');
    expect(run.out).toContain('desk-may-generate');
  });

  test('tells its user how to make the first call, and how to ask whether all is up', async () => {
    const args = ['install', 'mesh', CHART, '--dry-run=client', '--namespace', 'models'];
    const { out, err } = await runHelm(helm, [...args, '--values', CERT_MANAGER]);
    expect(err).toBe('');
    const notes = out.slice(out.indexOf('NOTES:'));
    expect(notes).toContain('kubectl -n models port-forward service/gatehouse-inference 8443 &');
    expect(notes).toContain('localhost:8443 gatehouse.inference.v1.InferenceService/Generate');
    expect(notes).toContain('There is no\n   rule of yours yet, so nobody outside can call.');
    expect(notes).toContain('helm test mesh -n models');
  });

  test('is packaged without its tests and examples', async () => {
    expect(await runHelm(helm, ['package', CHART, '--destination', folder])).toMatchObject({ code: 0 });
    const packed = join(folder, 'gatehouse-0.2.0.tgz');
    const { stdout } = await promisify(execFile)('tar', ['-tzf', packed]);
    const files = stdout.trim().split('\n');
    expect(files).toEqual(
      expect.arrayContaining(['values.schema.json', 'values-ha.yaml'].map((file) => `gatehouse/${file}`)),
    );
    expect(files.filter((file) => /gatehouse\/(tests|examples)\//.test(file))).toEqual([]);
    expect(await runHelm(helm, ['template', 'mesh', packed, '-f', MINIMAL])).toMatchObject({
      code: 0,
      err: '',
    });
  });
});
