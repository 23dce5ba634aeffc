import { execFile } from 'node:child_process';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ROOT } from '../run-cli.ts';

const run = promisify(execFile);
const STEP_MS_MAX = 240_000;

/** Builds a package, and installs it alone into a new project. */
async function build(name: 'npm' | 'python', out: string): Promise<string> {
  const script = join(ROOT, 'libs/tooling/src/packages/main.ts');
  const { stdout } = await run(process.execPath, [script, '--out', out, name], { timeout: STEP_MS_MAX });
  return stdout.trim();
}

/** @returns what the project's program prints */
export async function runNpmCaller(folder: string, args: readonly string[]): Promise<string> {
  const project = join(folder, 'npm-project');
  await mkdir(project, { recursive: true });
  const tarball = await build('npm', folder);
  await writeFile(join(project, 'package.json'), '{"name":"caller","private":true,"type":"module"}\n');
  await cp(fileURLToPath(new URL('caller.mjs', import.meta.url)), join(project, 'caller.mjs'));
  const install = ['install', '--silent', '--no-audit', '--no-fund', '--prefer-offline', tarball];
  await run('npm', install, { cwd: project, timeout: STEP_MS_MAX });
  const { stdout } = await run(process.execPath, ['caller.mjs', ...args], {
    cwd: project,
    timeout: STEP_MS_MAX,
  });
  return stdout;
}

/** @returns what the project's program prints */
export async function runPythonCaller(folder: string, args: readonly string[]): Promise<string> {
  const project = join(folder, 'python-project');
  const wheel = await build('python', folder);
  await run('python3', ['-m', 'venv', project], { timeout: STEP_MS_MAX });
  const python = join(project, 'bin', 'python');
  await run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', wheel], {
    timeout: STEP_MS_MAX,
  });
  const caller = fileURLToPath(new URL('caller.py', import.meta.url));
  const { stdout } = await run(python, [caller, ...args], { timeout: STEP_MS_MAX });
  return stdout;
}
