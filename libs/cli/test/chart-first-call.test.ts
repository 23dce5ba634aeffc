/** What docs/operate.md has an operator type, from nothing to an upgrade, against a real API server. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ApiServer, startApiServer } from './chart/api-server.ts';
import { CHART, clusterTools, type Manifest, manifestsOf } from './chart/helm.ts';
import { TEST_MS_MAX } from './chart/local-pod.ts';
import { LocalRelease, ORCHESTRATION } from './chart/local-release.ts';
import { ROOT, runCli } from './run-cli.ts';

const run = promisify(execFile);
/** Thirty runs of kubectl, Helm and openssl: 22 s on two busy cores, and seen to take minutes on fuller ones. */
const COMMANDS_MS_MAX = 3 * TEST_MS_MAX;
const cluster = await clusterTools();

describe.skipIf('missing' in cluster)(
  'the first call of docs/operate.md',
  { timeout: COMMANDS_MS_MAX },
  () => {
    let server: ApiServer;
    let folder: string;
    let release: LocalRelease;

    beforeAll(async () => {
      if ('missing' in cluster) return;
      folder = await mkdtemp(join(tmpdir(), 'gatehouse-first-'));
      await symlink(dirname(CHART), join(folder, 'charts'));
      release = await LocalRelease.create();
      server = await startApiServer(cluster);
      await server.must(['apply', '--server-side', '-f', cluster.customResources]);
      await server.must(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=20s']);
    }, TEST_MS_MAX);

    afterAll(async () => {
      await release?.remove();
      await server?.close();
      await rm(folder, { recursive: true, force: true });
    });

    /** One shell for all blocks, as an operator has one. @returns what they print */
    const type = async (blocks: readonly string[]): Promise<string> => {
      if ('missing' in cluster) return '';
      const path = `${dirname(cluster.helm)}:${dirname(cluster.kubectl)}:${process.env['PATH']}`;
      const env = { PATH: path, KUBECONFIG: server.kubeconfig, HOME: folder };
      const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', blocks.join('\n')], {
        cwd: folder,
        env,
      });
      return stdout;
    };

    const secretsOf = async (): Promise<Record<string, Record<string, string>>> => {
      const text = await server.must(['get', 'secrets', '-n', 'models', '-o', 'yaml']);
      const [list] = manifestsOf(text) as unknown as { readonly items: readonly Manifest[] }[];
      const decoded = (data: Readonly<Record<string, string>> = {}) =>
        Object.fromEntries(
          Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]),
        );
      return Object.fromEntries(
        (list?.items ?? []).map(({ metadata, data }) => [metadata.name, decoded(data)]),
      );
    };

    /** Whether a sidecar would start with the Secret. */
    const isTaken = async (
      manifests: readonly Manifest[],
      secret: Record<string, string>,
    ): Promise<string> => {
      const elsewhere = { [`Secret ${ORCHESTRATION}`]: secret };
      const pod = await release.orchestration(manifests, elsewhere);
      const checked = await runCli(
        folder,
        'sidecar',
        'check',
        join(pod.folder, 'etc/gatehouse/config/sidecar.yaml'),
      );
      return checked.exitCode === 0 ? 'taken' : checked.out;
    };

    test('installs, changes certificates, upgrades, goes back and turns monitoring on', async () => {
      const page = await readFile(join(ROOT, 'docs/operate.md'), 'utf8');
      const [, section = ''] = /^## From nothing to a first call\n([\s\S]*?)^## /m.exec(page) ?? [];
      const blocks = [...section.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, block = '']) => block);
      const [install = '', rotate = '', upgrade = '', monitor = ''] = blocks;
      expect(blocks).toHaveLength(4);

      expect(await type([install])).toContain('STATUS: deployed');
      const manifests = manifestsOf(await type(['helm get manifest mesh --namespace models']));
      const before = await secretsOf();
      expect(await isTaken(manifests, before[ORCHESTRATION] ?? {})).toBe('taken');
      expect(
        await isTaken(manifests, { ...before[ORCHESTRATION], 'tls.key': before['desk']?.['tls.key'] ?? '' }),
      ).toContain('identity');

      const issue = install.slice(install.indexOf('issue() {'), install.indexOf('for name in'));
      await type([issue, rotate]);
      const after = await secretsOf();
      expect(after[ORCHESTRATION]?.['tls.crt']).not.toBe(before[ORCHESTRATION]?.['tls.crt']);
      expect(await isTaken(manifests, after[ORCHESTRATION] ?? {})).toBe('taken');

      expect(await type([upgrade])).toMatch(/^2\s.*deployed/m);
      const jsonPath = 'jsonpath={.spec.template.spec.containers[0].image}';
      const image = await server.must(['get', 'deployment', ORCHESTRATION, '-n', 'models', '-o', jsonPath]);
      expect(image).toBe('images.example.org/platform/gatehouse/orchestration:0.1.0');
      await type([monitor]);
      const monitors = await server.must([
        'get',
        'podmonitors,prometheusrules',
        '-n',
        'models',
        '-o',
        'name',
      ]);
      expect(monitors.trim().split('\n')).toHaveLength(2);
    });
  },
);
