/** What the sidecar's image holds, run as the image runs it, away from the repository. */
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
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gh-image-'));
  const builder = spawn(
    process.execPath,
    [join(ROOT, 'libs/tooling/src/images/main.ts'), '--out', join(folder, 'context')],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  expect(await once(builder, 'exit')).toEqual([0, null]);
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
  const child = spawn(process.execPath, [at('context/app/main.js'), '--config', at('sidecar.yaml')], {
    cwd: folder,
    env: {},
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    let out = '';
    child.stdout.on('data', (text: Buffer) => (out += text.toString()));
    const started = await vi.waitFor(
      () => {
        const line = out.split('\n').find((each) => each.includes('sidecar started')) ?? '';
        return JSON.parse(line) as { telemetryAddress: string };
      },
      { timeout: 15_000, interval: 20 },
    );
    expect((await fetch(`http://${started.telemetryAddress}/livez`)).status).toBe(200);
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  } finally {
    child.kill('SIGKILL');
  }
}, 30_000);
