import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** How many checks a step made, and how they went. */
type Tally = { readonly passed: number; readonly failed: number; readonly notRun: number };

/** One thing that is checked: a name for people and the work. */
export type Step = { readonly title: string; readonly run: (root: string) => Promise<Tally> };

/** A tool that passes or fails as a whole: its output is shown only when it fails. */
function tool(title: string, command: string, args: readonly string[]): Step {
  return {
    title,
    run: async (root) => {
      const { code, output } = await capture(root, command, args);
      if (code !== 0) process.stdout.write(`${output}\n`);
      return code === 0 ? { passed: 1, failed: 0, notRun: 0 } : { passed: 0, failed: 1, notRun: 0 };
    },
  };
}

type Captured = { readonly code: number; readonly output: string };

function capture(root: string, command: string, args: readonly string[]): Promise<Captured> {
  return new Promise((resolve, reject) => {
    const child = spawn(join(root, 'node_modules', '.bin', command), args, { cwd: root });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? 1, output }));
  });
}

type VitestReport = {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly numFailedTestSuites: number;
  readonly success: boolean;
};

/** The tests, shown as they run. A file that fails to load, or a run without one test, is a failure. */
const tests: Step = {
  title: 'tests',
  run: async (root) => {
    const folder = await mkdtemp(join(tmpdir(), 'gatehouse-check-'));
    const reportFile = join(folder, 'report.json');
    try {
      await new Promise<void>((resolve, reject) => {
        const child = spawn(
          process.execPath,
          [
            'node_modules/vitest/vitest.mjs',
            'run',
            '--reporter=default',
            '--reporter=json',
            `--outputFile.json=${reportFile}`,
          ],
          { cwd: root, stdio: 'inherit' },
        );
        child.on('error', reject);
        child.on('close', () => resolve());
      });
      const report = JSON.parse(await readFile(reportFile, 'utf8')) as VitestReport;
      const brokenFiles =
        report.success || report.numFailedTests > 0 ? 0 : Math.max(1, report.numFailedTestSuites);
      return {
        passed: report.numPassedTests,
        failed: report.numFailedTests + brokenFiles + (report.numPassedTests === 0 ? 1 : 0),
        notRun: report.numPendingTests + report.numTodoTests,
      };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

/** What tests run that pnpm does not install: got once, cached outside the repository. */
const TEST_TOOLS = [
  'actionlint',
  'h2spec',
  'h2spec-grpc',
  'grpc-interop',
  'python-hpack',
  'kubernetes',
  'jaeger',
  'spire',
  // Of Debian's packages, here and not in the tests, which run side by side: only one at a time can install.
  'prometheus',
  'redis-server',
  'podman',
  'buildah',
  'runc',
] as const;

/** Tools that tests need. Where one can't be had its tests count as not run (and, in CI, as failed): they say so. */
const testTools: Step = {
  title: 'test tools are there',
  run: async (root) => {
    const child = spawn(process.execPath, ['libs/tooling/src/external-tools/main.ts', ...TEST_TOOLS], {
      cwd: root,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    return code === 0 ? { passed: 1, failed: 0, notRun: 0 } : { passed: 0, failed: 0, notRun: 1 };
  },
};

/** Everything that has to hold before a change lands, the quickest first. */
export const steps: readonly Step[] = [
  tool('protos are linted', 'buf', ['lint']),
  tool('protos are formatted', 'buf', ['format', '--diff', '--exit-code', 'protos']),
  tool('protos break no released contract', 'buf', ['breaking', '--against', 'protos/released.binpb']),
  tool('code is formatted', 'biome', ['check', '.']),
  tool('code is linted', 'oxlint', ['--type-aware', '--deny-warnings']),
  tool('types hold', 'tsc', ['--noEmit', '-p', '.']),
  tool('nothing is unused', 'knip', ['--no-progress']),
  testTools,
  tests,
];
