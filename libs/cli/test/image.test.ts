/** What images hold, run as they run it, away from the repository. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority } from '@gatehouse/identity';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { ROOT } from './run-cli.ts';

/** What the image may add to its base. */
const IMAGE_BYTES_MAX = 60 * 1024 * 1024;

let folder: string;

async function build(name: string, out: string): Promise<void> {
  const builder = spawn(
    process.execPath,
    ['--no-warnings', join(ROOT, 'libs/tooling/src/images/main.ts'), '--of', name, '--out', out],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  expect(await once(builder, 'exit')).toEqual([0, null]);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gh-image-'));
  await build('sidecar', join(folder, 'context'));
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

test('the image adds little to its base, runs as nobody special, and holds no source', async () => {
  const files = await readdir(join(folder, 'context'), { recursive: true, withFileTypes: true });
  const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
  const sizes = await Promise.all(paths.map(async (path) => (await stat(path)).size));
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(IMAGE_BYTES_MAX);
  expect(paths.filter((path) => path.endsWith('.ts'))).toEqual([]);
  const dockerfile = await readFile(join(folder, 'context/Dockerfile'), 'utf8');
  expect(dockerfile).toMatch(/^USER [1-9]\d*:[1-9]\d*$/m);
});

test('the image starts Node as the local mesh and the benchmarks do', async () => {
  const dockerfile = await readFile(join(folder, 'context/Dockerfile'), 'utf8');
  const { flags, env } = JSON.parse(await readFile(join(ROOT, 'sidecar/start-options.json'), 'utf8')) as {
    flags: string[];
    env: Record<string, string>;
  };
  const entrypoint = /^ENTRYPOINT (.*)$/m.exec(dockerfile)?.[1] ?? '';
  expect(JSON.parse(entrypoint)).toEqual(['node', ...flags, '/app/main.js']);
  const set = [...dockerfile.matchAll(/^ENV (\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]);
  expect(Object.fromEntries(set)).toEqual({ NODE_ENV: 'production', ...env });
});

test('a sidecar starts from it with its own contracts alone, answers its probe, and ends on SIGTERM', async () => {
  const authority = await createAuthority({
    trustDomain: 'example.org',
    clock: Date.now,
    validForMs: 3_600_000,
  });
  const issued = await authority.issue({ spiffeId: 'spiffe://example.org/sa/a', validForMs: 600_000 });
  const at = (name: string): string => join(folder, name);
  await writeFile(at('tls.crt'), issued.certificatePem);
  await writeFile(at('tls.key'), issued.keyPem);
  await writeFile(at('ca.crt'), authority.bundlePem);
  await writeFile(at('policy.yaml'), stringify({ version: 'v1', trustDomains: ['example.org'], rules: [] }));
  const config = {
    name: 'a',
    identity: {
      certificateFile: at('tls.crt'),
      keyFile: at('tls.key'),
      bundleFile: at('ca.crt'),
      trustDomain: 'example.org',
    },
    inbound: { listen: '127.0.0.1:0', app: `unix:${at('app.sock')}` },
    policyFile: at('policy.yaml'),
    // Spans bring in what is imported late.
    telemetry: { listen: '127.0.0.1:0', otlpEndpoint: 'http://127.0.0.1:9' },
    admin: { listen: `unix:${at('admin.sock')}` },
  };
  await writeFile(at('sidecar.yaml'), stringify(config));
  await startsAndEnds(at('context/app/main.js'), at('sidecar.yaml'), async (line) => {
    const { telemetryAddress } = line as { telemetryAddress: string };
    expect((await fetch(`http://${telemetryAddress}/livez`)).status).toBe(200);
  });
}, 30_000);

test('a service starts from it in JavaScript with its packages, traced and measured, and the repository is as before', async () => {
  const manifest = join(ROOT, 'libs/contracts/package.json');
  const before = await readFile(manifest, 'utf8');
  const out = join(folder, 'orchestration');
  await build('orchestration', out);
  expect(await readFile(manifest, 'utf8')).toBe(before);
  const config = {
    name: 'orchestration',
    listen: `unix:${join(folder, 'orchestration.sock')}`,
    egress: `unix:${join(folder, 'egress.sock')}`,
    upstreams: { inference: 'inference', embeddings: 'embeddings' },
    telemetry: { otlpEndpoint: 'http://127.0.0.1:9', sampleRatio: 1, metricsListen: '127.0.0.1:0' },
  };
  await writeFile(join(folder, 'service.yaml'), stringify(config));
  await startsAndEnds(join(out, 'app/src/main.js'), join(folder, 'service.yaml'), async (line) => {
    const { metricsAddress } = line as { metricsAddress: string };
    expect((await fetch(`http://${metricsAddress}/metrics`)).status).toBe(200);
  });
}, 120_000);

/** Runs a program until it says where it listens, lets the test look at it, and ends it as Kubernetes does. */
async function startsAndEnds(
  main: string,
  config: string,
  look: (line: unknown) => Promise<void>,
): Promise<void> {
  const child = spawn(process.execPath, [main, '--config', config], {
    cwd: folder,
    env: {},
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    let out = '';
    child.stdout.on('data', (text: Buffer) => (out += text.toString()));
    const started = await vi.waitFor(
      () => {
        const line = out.split('\n').find((each) => /Address"/i.test(each)) ?? '';
        return JSON.parse(line) as unknown;
      },
      { timeout: 15_000, interval: 20 },
    );
    await look(started);
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  } finally {
    child.kill('SIGKILL');
  }
}
