import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatehouse-layers-'));
  await cp(join(ROOT, '.oxlintrc.json'), join(folder, '.oxlintrc.json'));
  await cp(join(ROOT, 'tsconfig.json'), join(folder, 'tsconfig.json'));
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Lints one file with the repository's own rules, as if it stood at this path. @returns what the linter said */
async function lint(path: string, text: string): Promise<string> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), text);
  return new Promise((resolve) => {
    execFile(
      join(ROOT, 'node_modules/.bin/oxlint'),
      ['--format=unix', path],
      { cwd: folder },
      (_error, stdout) => resolve(stdout),
    );
  });
}

describe('the linter refuses an import across layers', () => {
  const planted: readonly (readonly [path: string, from: string])[] = [
    ['sidecar/src/http2/planted.ts', '../policy/policy.ts'],
    ['sidecar/src/http2/planted.ts', 'node:http2'],
    ['sidecar/src/http2/planted.ts', '@gatehouse/contracts'],
    ['sidecar/src/policy/planted.ts', '../http2/index.ts'],
    ['sidecar/src/policy/planted.ts', 'node:net'],
    ['sidecar/src/policy/planted.ts', 'node:fs/promises'],
    ['sidecar/src/upstream/planted.ts', '../path/call.ts'],
    ['sidecar/src/upstream/planted.ts', '../http2/connection.ts'],
    ['sidecar/src/upstream/planted.ts', '@grpc/grpc-js'],
    ['sidecar/src/quota/planted.ts', '../path/call.ts'],
    ['sidecar/src/protect/messages/planted.ts', '../../path/call.ts'],
    ['sidecar/src/audit/planted.ts', '../sidecar.ts'],
    ['sidecar/src/path/planted.ts', './4-authorise.ts'],
    ['sidecar/src/path/7-forward.ts', '@grpc/grpc-js'],
    ['services/inference/src/planted.ts', '@gatehouse/sidecar'],
    ['services/inference/src/planted.ts', '@gatehouse/identity'],
    ['libs/telemetry/src/planted.ts', '@gatehouse/sidecar'],
    ['libs/telemetry/src/planted.ts', '@gatehouse/inference'],
  ];

  test.each(planted)('%s from %s', async (path, from) => {
    expect(await lint(path, `import { planted } from '${from}';\nplanted();\n`)).toContain(
      'no-restricted-imports',
    );
  });
});

describe('and lets through what the layers allow', () => {
  const allowed: readonly (readonly [path: string, text: string])[] = [
    ['sidecar/src/path/pipeline.ts', "import { authorise } from './4-authorise.ts';\nauthorise();\n"],
    [
      'sidecar/src/path/5-admit.ts',
      "import type { Permitted } from './4-authorise.ts';\nexport type Next = Permitted;\n",
    ],
    [
      'sidecar/src/upstream/endpoint.ts',
      "import { Connection } from '../http2/index.ts';\nConnection.client();\n",
    ],
    ['libs/cli/src/explain.ts', "import { compilePolicy } from '@gatehouse/sidecar';\ncompilePolicy();\n"],
  ];

  test.each(allowed)('%s', async (path, text) => {
    expect(await lint(path, text)).not.toContain('no-restricted-imports');
  });
});

describe('the linter refuses what only main.ts may touch', () => {
  test.each([
    ['the environment', 'export const home = process.env.HOME;\n', 'no-process-env'],
    ['the real clock', 'export const now = Date.now();\n', 'no-restricted-properties'],
    ['the console', "console.log('x');\n", 'no-console'],
  ])('%s', async (_what, text, rule) => {
    expect(await lint('sidecar/src/admin/planted.ts', text)).toContain(rule);
    expect(await lint('sidecar/src/main.ts', text)).not.toContain(rule);
  });
});

test('the linter refuses an import cycle', async () => {
  await lint('libs/telemetry/src/b.ts', "import { a } from './a.ts';\nexport const b = (): number => a();\n");
  expect(
    await lint(
      'libs/telemetry/src/a.ts',
      "import { b } from './b.ts';\nexport const a = (): number => b();\n",
    ),
  ).toContain('no-cycle');
});
