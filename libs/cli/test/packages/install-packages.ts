import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ROOT } from '../run-cli.ts';

const run = promisify(execFile);
const STEP_MS_MAX = 240_000;
const CONTRACT_FILE = 'contract.json';

/** A project that has installed a package for its language and nothing else. */
export type CallerProject = {
  /** Runs its program, and reads what it prints. */
  call(args: readonly string[]): Promise<unknown>;
  /** Makes the installed package one of another version of the contract. */
  pretend(version: string): Promise<void>;
};

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** Builds a package. @returns its file or folder */
async function build(name: 'npm' | 'python' | 'go' | 'java', out: string): Promise<string> {
  const script = join(ROOT, 'libs/tooling/src/packages/main.ts');
  const { stdout } = await run(process.execPath, [script, '--out', out, name], { timeout: STEP_MS_MAX });
  return stdout.trim();
}

async function printed(command: string, args: readonly string[], cwd: string): Promise<unknown> {
  const { stdout } = await run(command, args, { cwd, timeout: STEP_MS_MAX });
  return JSON.parse(stdout);
}

export async function installNpmPackage(folder: string): Promise<CallerProject> {
  const project = join(folder, 'npm-project');
  await mkdir(project, { recursive: true });
  const tarball = await build('npm', folder);
  await writeFile(join(project, 'package.json'), '{"name":"caller","private":true,"type":"module"}\n');
  await cp(fileURLToPath(new URL('caller.mjs', import.meta.url)), join(project, 'caller.mjs'));
  const install = ['install', '--silent', '--no-audit', '--no-fund', '--prefer-offline', tarball];
  await run('npm', install, { cwd: project, timeout: STEP_MS_MAX });
  return {
    call: (args) => printed(process.execPath, ['caller.mjs', ...args], project),
    pretend: (version) => pretendIn(join(project, 'node_modules/@gatehouse/client'), version),
  };
}

export async function installPythonWheel(folder: string): Promise<CallerProject> {
  const project = join(folder, 'python-project');
  const wheel = await build('python', folder);
  await run('python3', ['-m', 'venv', project], { timeout: STEP_MS_MAX });
  const python = join(project, 'bin', 'python');
  await run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', wheel], {
    timeout: STEP_MS_MAX,
  });
  return {
    call: (args) => printed(python, [here('caller.py'), ...args], project),
    pretend: (version) => pretendIn(join(project, 'lib'), version),
  };
}

export async function requireGoModule(folder: string): Promise<CallerProject> {
  const project = join(folder, 'go-project');
  const module = await build('go', folder);
  await cp(here('go'), project, { recursive: true });
  // What the module needs is all that the project needs.
  await cp(join(module, 'go.sum'), join(project, 'go.sum'));
  const go = (...args: string[]) => run('go', args, { cwd: project, timeout: STEP_MS_MAX });
  await go('mod', 'edit', '-replace', `gatehouse.dev/client=${module}`);
  return {
    call: async (args) => {
      await go('build', '-mod=mod', '-o', 'caller', '.');
      return printed(join(project, 'caller'), args, project);
    },
    pretend: (version) => pretendIn(module, version),
  };
}

/** Maven keeps what it has fetched, and the package that is tested, apart from what a person has. */
const MAVEN = [
  '-B',
  '-q',
  `-Dmaven.repo.local=${join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'gatehouse/maven')}`,
];

export async function dependOnJavaPackage(folder: string): Promise<CallerProject> {
  const project = join(folder, 'java-project');
  const stubs = await build('java', folder);
  // Maven lives for seconds: the second compiler would take longer than it saves.
  const env = { ...process.env, MAVEN_OPTS: '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC' };
  const maven = (cwd: string, ...args: string[]) =>
    run('mvn', [...MAVEN, ...args], { cwd, env, timeout: STEP_MS_MAX });
  await maven(stubs, 'install');
  await cp(here('java'), project, { recursive: true });
  const [, version = ''] =
    /<version>(.*)<\/version>/.exec(await readFile(join(stubs, 'pom.xml'), 'utf8')) ?? [];
  const pom = join(project, 'pom.xml');
  await writeFile(pom, (await readFile(pom, 'utf8')).replace('CLIENT_VERSION', version));
  const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath';
  await maven(project, 'compile', goal, '-Dmdep.outputFile=classpath.txt');
  const libraries = (await readFile(join(project, 'classpath.txt'), 'utf8')).trim();
  return {
    call: (args) => printed('java', ['-cp', `target/classes:${libraries}`, 'Caller', ...args], project),
    pretend: async (version) => {
      const sources = join(stubs, 'src/main/java/dev/gatehouse');
      const file = join(sources, 'ContractFacts.java');
      const text = await readFile(file, 'utf8');
      await writeFile(file, text.replace(/VERSION = "[^"]*"/, `VERSION = "${version}"`));
      const args = ['-cp', libraries, '-d', 'target/classes', file, join(sources, 'Contract.java')];
      await run('javac', args, { cwd: project, timeout: STEP_MS_MAX });
    },
  };
}

async function pretendIn(folder: string, version: string): Promise<void> {
  const names = await readdir(folder, { recursive: true });
  const file = names.find((name) => name.endsWith(`/${CONTRACT_FILE}`) || name === CONTRACT_FILE);
  if (file === undefined) throw new Error(`${folder} has no ${CONTRACT_FILE}`);
  const facts = JSON.parse(await readFile(join(folder, file), 'utf8')) as object;
  await writeFile(join(folder, file), JSON.stringify({ ...facts, version }));
}
