/** The chart and a real API server: what it renders is accepted, installed, upgraded, rolled back and taken away. No pod runs. */
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ApiServer, startApiServer } from './chart/api-server.ts';
import { CHART, clusterTools, type HelmRun, type Manifest, manifestsOf, runHelm } from './chart/helm.ts';
import { CERT_MANAGER, find, MATRIX, MINIMAL, render } from './chart/render-chart.ts';

/** The chart of before this version, as `helm package` made it, and values that it rendered with: today's has to take them too. */
const PREVIOUS = join(CHART, 'tests/previous');
const [PREVIOUS_CHART = ''] = (await readdir(PREVIOUS))
  .filter((name) => name.endsWith('.tgz'))
  .map((name) => join(PREVIOUS, name));
const PREVIOUS_MINIMAL = join(PREVIOUS, 'values/minimal.yaml');
const PREVIOUS_VALUES = (await readdir(join(PREVIOUS, 'values'))).toSorted();
const DRY_RUN = ['apply', '--server-side', '--dry-run=server', '-f', '-'];

/** The first needs the server to start; each takes a second or two on a machine that has no other work. */
const TEST_MS_MAX = 300_000;

const cluster = await clusterTools();

describe.skipIf('missing' in cluster)('a real API server', { timeout: TEST_MS_MAX }, () => {
  let server: ApiServer;
  let folder: string;

  beforeAll(async () => {
    if ('missing' in cluster) return;
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-cluster-'));
    await cp(join(CHART, 'examples/greeter'), join(folder, 'greeter'), { recursive: true });
    await cp(CHART, join(folder, 'greeter/charts/gatehouse'), { recursive: true });
    server = await startApiServer(cluster);
    // Too large for the annotation that a client-side apply leaves.
    await server.must(['apply', '--server-side', '-f', cluster.customResources]);
    await server.must(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s']);
    await addNamespace('models');
  }, TEST_MS_MAX);

  afterAll(async () => {
    await server?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const helm = (...args: readonly string[]): Promise<HelmRun> =>
    runHelm('helm' in cluster ? cluster.helm : '', [...args, '--kubeconfig', server.kubeconfig]);

  /** A namespace that takes restricted pods alone, and warns of what would make others. */
  const addNamespace = async (name: string): Promise<void> => {
    const key = 'pod-security.kubernetes.io';
    const labels = { [`${key}/enforce`]: 'restricted', [`${key}/warn`]: 'restricted' };
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
    await server.must(['create', '-f', '-'], JSON.stringify(namespace));
    await server.must(['create', 'serviceaccount', 'default', '-n', name]);
  };

  const dryRun = (manifests: readonly object[], namespace = 'models'): Promise<HelmRun> =>
    server.kubectl([...DRY_RUN, '-n', namespace], listOf(manifests));

  /** What is said against objects and the pods that controllers would make of them; empty when all are taken. */
  const refusals = async (manifests: readonly Manifest[]): Promise<string> => {
    const accounts = manifests.filter(({ kind }) => kind === 'ServiceAccount');
    if (accounts.length > 0)
      await server.must(['apply', '--server-side', '-f', '-', '-n', 'models'], listOf(accounts));
    const all = [...manifests, ...podsOf(manifests)];
    const { err, out } = await dryRun(all);
    const taken = out.split('\n').filter((line) => line.endsWith(' serverside-applied (server dry run)'));
    return taken.length === all.length ? err : `${taken.length} of ${all.length} are taken: ${err}`;
  };

  const renderExample = async (namespace: string, tag: string): Promise<Manifest[]> => {
    const args = ['template', 'hello', join(folder, 'greeter'), '--namespace', namespace];
    const run = await helm(...args, '--set', `gatehouse.images.tag=${tag}`);
    expect(run.err).toBe('');
    return manifestsOf(run.out);
  };

  test.each(MATRIX)('accepts each object that is rendered, and each pod of it: $name', async ({ files }) => {
    expect(await refusals(await render(files))).toBe('');
  });

  test('accepts the example that takes the sidecar into services that are not ours', async () => {
    expect(await refusals(await renderExample('models', '0.1.0'))).toBe('');
  });

  test('accepts the example with a new sidecar over the old one, for which its Job is made anew', async () => {
    await addNamespace('over-example');
    const before = await renderExample('over-example', '0.1.0');
    await server.must(['apply', '--server-side', '-f', '-', '-n', 'over-example'], listOf(before));
    const today = await renderExample('over-example', '0.2.0');
    const isHook = ({ metadata }: Manifest): boolean =>
      JSON.stringify(metadata).includes('before-hook-creation');
    const stay = today.filter((each) => !isHook(each));
    expect(await dryRun(stay, 'over-example')).toMatchObject({ code: 0, err: '' });
    expect(today.filter((each) => isHook(each) && each.kind === 'Job')).toHaveLength(1);
    expect((await dryRun(today, 'over-example')).err).toMatch(/Job.* spec\.template: .* field is immutable/s);
  });

  test('refuses a pod that may gain privileges, an unknown key of a kind of its own and one of another maker', async () => {
    const manifests = await render([CERT_MANAGER]);
    const [pod] = podsOf(manifests);
    const privileged = planted(pod, 'allowPrivilegeEscalation', true);
    expect((await dryRun([privileged])).err).toMatch(
      /forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false/,
    );
    const deployment = planted(find(manifests, 'Deployment', 'gatehouse-inference'), 'strategy', {
      typ: 'x',
    });
    expect((await dryRun([deployment])).err).toMatch(/unknown field|field not declared in schema/);
    const certificate = planted(
      find(manifests, 'Certificate', 'gatehouse-inference-identity'),
      'uris',
      'one',
    );
    expect((await dryRun([certificate])).err).toMatch(/spec\.uris/);
  });

  test('is held against a chart of before', async () => {
    const versions = [PREVIOUS_CHART, CHART].map(async (chart) => {
      const { out } = await helm('show', 'chart', chart);
      return (/^version: (\d+)\.(\d+)\.(\d+)$/m.exec(out) ?? []).slice(1).map(Number);
    });
    const [before = [], today = []] = await Promise.all(versions);
    const at = today.findIndex((each, index) => each !== before[index]);
    expect(today[at]).toBeGreaterThan(before[at] ?? Number.NaN);
  });

  test.each(PREVIOUS_VALUES)('accepts today’s objects over those of the chart before: %s', async (file) => {
    const namespace = `over-${file.replace('.yaml', '')}`;
    await addNamespace(namespace);
    const rendered = async (chart: string): Promise<Manifest[]> => {
      const values = join(PREVIOUS, 'values', file);
      // Hooks come anew each time.
      const args = ['--namespace', namespace, '--values', values, '--no-hooks'];
      const run = await helm('template', 'mesh', chart, ...args);
      expect(run.err).toBe('');
      return manifestsOf(run.out);
    };
    const before = await rendered(PREVIOUS_CHART);
    await server.must(['apply', '--server-side', '-f', '-', '-n', namespace], listOf(before));
    const today = await rendered(CHART);
    expect(await dryRun(today, namespace)).toMatchObject({ code: 0, err: '' });
    // What no upgrade can do is seen here.
    const moved = today.map((each) => planted(each, 'matchLabels', { app: 'moved' }));
    expect((await dryRun(moved, namespace)).err).toContain('field is immutable');
  });

  test('installs the chart before, upgrades it to today’s, rolls back, and leaves nothing behind', async () => {
    await addNamespace('live');
    const live = ['--namespace', 'live', '--no-hooks'];
    const values = ['--values', PREVIOUS_MINIMAL];
    const pods = async (): Promise<unknown> => {
      const got = await server.must(['get', 'deployments', '-n', 'live', '-o', 'json']);
      const { items } = JSON.parse(got) as { readonly items: readonly Manifest[] };
      return items.map(({ spec }) => spec?.template?.spec);
    };
    expect(await helm('install', 'mesh', PREVIOUS_CHART, ...live, ...values)).toMatchObject({
      code: 0,
      err: '',
    });
    const before = await pods();
    expect(before).toHaveLength(3);
    expect(await helm('upgrade', 'mesh', CHART, ...live, ...values, '--dry-run=server')).toMatchObject({
      code: 0,
    });
    expect(await pods()).toEqual(before);
    expect(await helm('upgrade', 'mesh', CHART, ...live, ...values)).toMatchObject({ code: 0, err: '' });
    expect(await pods()).not.toEqual(before);
    expect(await helm('rollback', 'mesh', '1', ...live)).toMatchObject({ code: 0, err: '' });
    expect(await pods()).toEqual(before);
    expect(await helm('uninstall', 'mesh', ...live)).toMatchObject({ code: 0 });
    expect(await left(server, 'live')).toEqual(['serviceaccount/default']);
  });

  test('installs nothing with a value that is refused', async () => {
    await addNamespace('empty');
    const args = ['install', 'mesh', CHART, '--namespace', 'empty', '--values', MINIMAL];
    const refused = await helm(...args, '--set', 'identity.source=');
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('identity.source is missing');
    expect(await left(server, 'empty')).toEqual(['serviceaccount/default']);
  });
});

function listOf(items: readonly object[]): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
}

/** The pods that controllers would make of workloads: only those are held against Pod Security. */
function podsOf(manifests: readonly Manifest[]): Manifest[] {
  return manifests.flatMap(({ metadata, spec }) => {
    if (spec?.template === undefined) return [];
    const { volumeClaimTemplates = [] } = spec as { readonly volumeClaimTemplates?: readonly Manifest[] };
    const claims = volumeClaimTemplates.map(({ metadata: { name } }) => ({
      name,
      persistentVolumeClaim: { claimName: `${name}-${metadata.name}-0` },
    }));
    const pod = { ...spec.template.spec, volumes: [...(spec.template.spec.volumes ?? []), ...claims] };
    const head = { apiVersion: 'v1', kind: 'Pod' };
    return [{ ...head, metadata: { ...spec.template.metadata, name: metadata.name }, spec: pod } as Manifest];
  });
}

/** A copy in which each value of a key is another. */
function planted(manifest: Manifest | undefined, key: string, value: unknown): Manifest {
  return JSON.parse(
    JSON.stringify(manifest, (each, present: unknown) => (each === key ? value : present)),
  ) as Manifest;
}

/** The names of everything in a namespace. */
async function left(server: ApiServer, namespace: string): Promise<string[]> {
  const kinds = await server.must(['api-resources', '--namespaced', '--verbs=list', '-o', 'name']);
  const listed = kinds
    .trim()
    .split('\n')
    .filter((kind) => !kind.startsWith('events'));
  return (await server.must(['get', listed.join(), '-n', namespace, '-o', 'name']))
    .trim()
    .split('\n')
    .toSorted();
}
