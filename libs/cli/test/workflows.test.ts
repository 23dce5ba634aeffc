/** The pipeline's definition: it parses, pins what it takes from others, calls what is there, and says what nothing exercises. */
import { execFile } from 'node:child_process';
import { access, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ensureTool, ToolUnavailable } from '../../tooling/src/external-tools/ensure-tool.ts';
import { ROOT } from './run-cli.ts';

const run = promisify(execFile);
const FOLDER = join(ROOT, '.github/workflows');
/** A whole commit, and beside it the release that it is. */
const PINNED = /^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/;

type Step = { readonly name?: string; readonly uses?: string; readonly run?: string };
type Workflow = {
  readonly jobs: Readonly<Record<string, { readonly uses?: string; readonly steps?: readonly Step[] }>>;
};

const files = (await readdir(FOLDER)).sort();
const texts = await Promise.all(files.map((file) => readFile(join(FOLDER, file), 'utf8')));
const steps = texts.flatMap((text) =>
  Object.entries((parse(text) as Workflow).jobs).flatMap(([job, { steps: own = [] }]) =>
    own.map((step) => ({ job, ...step })),
  ),
);
const actionlint = await ensureTool('actionlint', { env: process.env }).then(
  (folder) => join(folder, 'actionlint'),
  (error: unknown) => {
    if (!(error instanceof ToolUnavailable) || process.env['CI']) throw error;
    process.stderr.write(`not run: ${error.message}\n`);
    return null;
  },
);

describe.skipIf(actionlint === null)('actionlint', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gh-workflows-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  const lint = (paths: readonly string[]): Promise<string> =>
    run(actionlint ?? '', ['-no-color', '-shellcheck=', '-pyflakes=', ...paths], { cwd: ROOT }).then(
      () => '',
      ({ stdout }: { stdout: string }) => stdout,
    );

  test('finds nothing in the workflows', async () => {
    expect(await lint(files.map((file) => join(FOLDER, file)))).toBe('');
  });

  test.each([
    ['a key that there is none of', 'runs-on: ubuntu-latest', 'runs-upon: ubuntu-latest', 'unexpected key'],
    [
      'an input that nobody declares',
      'inputs.version }}',
      'inputs.verzion }}',
      'property "verzion" is not defined',
    ],
    ['a job that waits for none', 'needs: publish', 'needs: publisch', 'does not exist'],
  ])('finds %s', async (_, from, to, complaint) => {
    const text = await readFile(join(FOLDER, 'pipeline.yaml'), 'utf8');
    expect(text).toContain(from);
    const file = join(folder, 'pipeline.yaml');
    await writeFile(file, text.replace(from, to));
    expect(await lint([file])).toContain(complaint);
  });
});

test('every action is pinned to a commit', () => {
  const used = texts.flatMap((text) =>
    [...text.matchAll(/uses: (.*)$/gm)].map(([, what = '']) => what.trim()),
  );
  const foreign = used.filter((what) => !what.startsWith('./'));
  expect(foreign.length).toBeGreaterThan(5);
  for (const what of foreign) expect(what).toMatch(PINNED);
});

test('no workflow names a registry of images', () => {
  expect(texts.join('\n')).not.toMatch(/\b(ghcr|quay|gcr|docker)\.io\b|docker\.com/);
});

test('every program of the repository that a workflow runs is there', async () => {
  const { scripts } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const commands = steps.flatMap(({ run: script = '' }) => [...script.matchAll(/\bnode ([\w./-]+\.ts)\b/g)]);
  expect(commands.length).toBeGreaterThan(3);
  for (const [, file = ''] of commands) await access(join(ROOT, file));
  for (const { run: script = '' } of steps)
    for (const [, name = ''] of script.matchAll(/\bnpm (?:run )?(test|generate|gatehouse)\b/g))
      expect(scripts).toHaveProperty(name);
});

test('the page about releases says of every step whether tests exercise it', async () => {
  const page = await readFile(join(ROOT, 'docs/release.md'), 'utf8');
  const rows = page.split('\n').filter((line) => /^\| [a-z]+(-[a-z]+)* +\| [A-Z]/.test(line));
  const marked = [...texts.join('\n').matchAll(/# Not exercised by tests.*\n +- name: (.*)$/gm)].map(
    ([, name]) => name,
  );
  const told = rows.map((row) => {
    const [, job = '', step = '', exercised = ''] = row.split('|').map((cell) => cell.trim());
    // The files say it as well, where the steps are.
    expect([step, marked.includes(step)]).toEqual([step, exercised.startsWith('no')]);
    return `${job}: ${step}`;
  });
  // What only fetches or keeps files says so by itself.
  const named = steps.filter((step) => step.name !== undefined);
  expect(told.sort()).toEqual(named.map(({ job, name }) => `${job}: ${name}`).sort());
  for (const { name, run: script } of steps) if (script !== undefined) expect(name).toBeDefined();
});

test('the chart is linted and packed by one command', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gh-chart-'));
  const main = join(ROOT, 'libs/tooling/src/chart/main.ts');
  try {
    const { stdout } = await run(process.execPath, ['--no-warnings', main, '--out', folder]);
    expect(stdout).toMatch(/gatehouse-\d+\.\d+\.\d+\.tgz\n$/);
    await access(stdout.trim());
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 60_000);

test('a change that breaks the contract of the last release is found, also when it edits what is committed as released', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gh-contract-'));
  const git = (...args: string[]) =>
    run('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], { cwd: folder });
  const main = join(ROOT, 'libs/tooling/src/contract/main.ts');
  const compare = (...args: string[]) =>
    run(process.execPath, ['--no-warnings', main, '--root', folder, ...args]).then(
      ({ stdout }) => ({ code: 0, out: stdout }),
      ({ code, stdout }: { code: number; stdout: string }) => ({ code, out: stdout }),
    );
  const proto = (field: string): Promise<void> =>
    writeFile(
      join(folder, 'protos/a/v1/a.proto'),
      `syntax = "proto3";\npackage a.v1;\nmessage A {\n  ${field}\n}\n`,
    );
  try {
    await run('mkdir', ['-p', join(folder, 'protos/a/v1')]);
    await writeFile(
      join(folder, 'buf.yaml'),
      'version: v2\nmodules:\n  - path: protos\nbreaking:\n  use: [FILE]\n',
    );
    await git('init', '-q');
    await proto('string name = 1;');
    expect(await compare('--release')).toMatchObject({ code: 0 });
    await git('add', '-A');
    await git('commit', '-q', '-m', 'one');
    await git('tag', 'v1.0.0');
    await proto('string name = 1;\n  string more = 2;');
    await git('commit', '-q', '-a', '-m', 'two');
    expect(await compare()).toMatchObject({ code: 0, out: expect.stringContaining('held against v1.0.0') });
    await proto('int32 name = 1;');
    await compare('--release');
    await git('commit', '-q', '-a', '-m', 'three');
    expect(await compare()).toMatchObject({
      code: 1,
      out: expect.stringContaining('Field "1" with name "name"'),
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 60_000);

/** Of all that images and packages bring along: what may be passed on without more than naming it. */
const LICENCES = new Set([
  'Apache-2.0',
  'MIT',
  'ISC',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BlueOak-1.0.0',
  '0BSD',
  '(Apache-2.0 AND BSD-3-Clause)',
  'MIT or MPL-2.0',
  '(BSD-2-Clause OR MIT OR Apache-2.0)',
  '(MIT OR CC0-1.0)',
]);

test('every dependency has a licence that lets it be passed on', async () => {
  const { packageManager } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
    packageManager: string;
  };
  const args = ['--yes', packageManager, '--recursive', 'licenses', 'list', '--prod', '--json'];
  const { stdout } = await run('npx', args, { cwd: ROOT, maxBuffer: 1 << 25 });
  const found = JSON.parse(stdout) as Record<string, readonly { readonly name: string }[]>;
  expect(found['MIT']?.length).toBeGreaterThan(50);
  const others = Object.entries(found).filter(([licence]) => !LICENCES.has(licence));
  expect(others.map(([licence, packages]) => [licence, packages.map(({ name }) => name)])).toEqual([]);
}, 60_000);
