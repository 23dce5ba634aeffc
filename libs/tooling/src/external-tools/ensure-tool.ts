import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { type GoTool, PINNED_TOOLS, type PinnedTool, type PythonTool } from './pinned-tools.ts';
import { type Env, onceInFolder, toolsDir } from './tool-cache.ts';

const BUILD_MS_MAX = 3_600_000;
/** What is kept of a builder's output. */
const OUTPUT_BYTES_MAX = 4_096;

export interface EnsureToolOptions {
  /** The process's environment: GATEHOUSE_TOOLS_DIR, XDG_CACHE_HOME, HOME, PATH, and what go and pip read. */
  readonly env: Env;
  /** Called with a line when something is built that takes its time. */
  readonly onProgress?: (line: string) => void;
}

/** A tool that can't be had here; the message says in a sentence what is missing and how to get it. */
export class ToolUnavailable extends Error {
  override readonly name = 'ToolUnavailable';
}

/**
 * Makes sure that a pinned tool is in the tools folder, and builds or downloads it the first time.
 * @param name of one of PINNED_TOOLS
 * @returns the folder: a Go tool's has its commands in it, a Python tool's goes into PYTHONPATH
 * @throws ToolUnavailable
 */
export async function ensureTool(name: string, options: EnsureToolOptions): Promise<string> {
  const tool = PINNED_TOOLS.find((each) => each.name === name);
  if (tool === undefined) {
    throw new ToolUnavailable(
      `there is no tool ${name}; expected one of ${PINNED_TOOLS.map((each) => each.name).join(', ')}.`,
    );
  }
  const root = toolsDir(options.env);
  try {
    return await onceInFolder(root, `${tool.name}-${await recipeHash(tool)}`, (temporary) =>
      tool.kind === 'go' ? buildGo(tool, temporary, options) : installPython(tool, temporary, options),
    );
  } catch (error) {
    if (error instanceof ToolUnavailable) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new ToolUnavailable(
      `${tool.name} cannot be kept in ${root} (${why}); set GATEHOUSE_TOOLS_DIR to a folder that can be written.`,
    );
  }
}

/**
 * @returns the folder of a tool that is there already
 * @throws ToolUnavailable when it is not: nothing is built or downloaded
 */
export async function findTool(name: string, { env }: EnsureToolOptions): Promise<string> {
  const tool = PINNED_TOOLS.find((each) => each.name === name);
  const folder = tool && join(toolsDir(env), `${tool.name}-${await recipeHash(tool)}`);
  if (folder !== undefined && existsSync(folder)) return folder;
  throw new ToolUnavailable(
    `${name} is not built: node libs/tooling/src/external-tools/main.ts ${name} builds it.`,
  );
}

/** Names the state of everything that the build depends on. */
async function recipeHash(tool: PinnedTool): Promise<string> {
  const hash = createHash('sha256');
  if (tool.kind === 'python') hash.update(tool.requirement);
  else {
    for (const file of ['go.mod', 'go.sum']) hash.update(await readFile(join(tool.module, file)));
    if (tool.edit) hash.update(JSON.stringify(tool.edit));
    if (tool.inItself) hash.update(tool.inItself);
    if (tool.leftOut) hash.update(JSON.stringify(tool.leftOut));
    if (tool.overlay) {
      for (const file of await filesIn(tool.overlay))
        hash.update(file).update(await readFile(join(tool.overlay, file)));
    }
    if (tool.variables) hash.update(JSON.stringify(tool.variables));
  }
  return hash.digest('hex').slice(0, 12);
}

async function buildGo(tool: GoTool, folder: string, { env, onProgress }: EnsureToolOptions): Promise<void> {
  onProgress?.(`building ${tool.name} with Go, once (${tool.buildTakes})`);
  const sources = join(folder, 'sources');
  const go: Go = async (cwd, args) => {
    const { failure, said } = await run('go', args, {
      cwd,
      // C is not made faster: that is most of what SQLite takes to build.
      env: { ...env, CGO_ENABLED: tool.cgo === true ? '1' : '0', CGO_CFLAGS: '-O0' },
    });
    if (failure === null) return said;
    throw new ToolUnavailable(
      failure === 'ENOENT'
        ? `${tool.name} cannot be built: go is not on the PATH; install Go 1.26 or newer from go.dev/dl.`
        : `${tool.name} cannot be built (${failure}); the first build needs the Go module proxy.`,
    );
  };
  const cwd = await moduleOf(tool, { sources, go });
  const variables = Object.entries(tool.variables ?? {}).map(([name, value]) => `-X ${name}=${value}`);
  for (const [command, file] of Object.entries(tool.commands)) {
    await go(cwd, [
      'build',
      '-mod=readonly',
      '-buildvcs=false',
      '-trimpath',
      // They run for seconds and are never debugged: what makes them faster takes most of the time of their build.
      '-gcflags=all=-l -dwarf=false',
      `-ldflags=${['-s', '-w', ...variables].join(' ')}`,
      '-o',
      join(folder, file),
      command,
    ]);
  }
  await rm(sources, { recursive: true, force: true });
}

/** Runs go. @returns what it wrote */
type Go = (cwd: string, args: readonly string[]) => Promise<string>;

type Workshop = { readonly sources: string; readonly go: Go };

/** @returns the folder of the module to build in */
async function moduleOf(tool: GoTool, { sources, go }: Workshop): Promise<string> {
  if (tool.edit !== undefined) return editedModule(tool, tool.edit, { sources, go });
  if (tool.inItself === undefined) return tool.module;
  const copy = join(sources, 'copy');
  await copyModule(tool, tool.inItself, copy, go);
  await leaveOut(tool, copy);
  if (tool.overlay !== undefined) await copyFiles(tool.overlay, copy);
  return copy;
}

async function leaveOut(tool: GoTool, copy: string): Promise<void> {
  for (const { files, lines } of tool.leftOut ?? []) {
    const pattern = new RegExp(lines);
    for (const file of files) {
      const all = (await readFile(join(copy, file), 'utf8')).split('\n');
      const kept = all.filter((line) => !pattern.test(line));
      if (kept.length === all.length)
        throw new ToolUnavailable(`${tool.name} cannot be built: ${file} has no line of ${lines}`);
      await writeFile(join(copy, file), kept.join('\n'));
    }
  }
}

/** Copies the source of a module that the tool's own go.mod pins. */
async function copyModule(tool: GoTool, name: string, copy: string, go: Go): Promise<void> {
  await go(tool.module, ['mod', 'download', name]);
  const original = (await go(tool.module, ['list', '-m', '-f', '{{.Dir}}', name])).trim();
  await copyFiles(original, copy);
}

/** Go's module cache is read-only; the copies are not. */
async function copyFiles(from: string, to: string): Promise<void> {
  for (const file of await filesIn(from)) {
    const target = join(to, file);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, await readFile(join(from, file)));
  }
}

/** Paths below a folder, in order. */
async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(relative(folder, entry.parentPath), entry.name))
    .sort();
}

/** Makes a module beside a copy of the edited one, which stands in for it. @returns its folder */
async function editedModule(
  tool: GoTool,
  edit: NonNullable<GoTool['edit']>,
  { sources, go }: Workshop,
): Promise<string> {
  const copy = join(sources, 'edited');
  await copyModule(tool, edit.module, copy, go);
  let text = await readFile(join(copy, edit.file), 'utf8');
  for (const [from, to] of edit.replacements) {
    if (!text.includes(from))
      throw new ToolUnavailable(`${tool.name} cannot be built: ${edit.file} lacks ${from}`);
    text = text.replace(from, to);
  }
  await writeFile(join(copy, edit.file), text);
  await writeFile(join(copy, 'go.mod'), `module ${edit.module}\n`);
  for (const file of ['go.mod', 'go.sum'])
    await writeFile(join(sources, file), await readFile(join(tool.module, file)));
  await go(sources, ['mod', 'edit', '-replace', `${edit.module}=./edited`]);
  return sources;
}

async function installPython(
  tool: PythonTool,
  folder: string,
  { env, onProgress }: EnsureToolOptions,
): Promise<void> {
  onProgress?.(`downloading ${tool.requirement} with pip, once`);
  const args = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--only-binary=:all:', '--no-compile'];
  args.push('--disable-pip-version-check', '--no-input', '--root-user-action=ignore', '--retries=2');
  args.push('--timeout=15', '--target', folder, tool.requirement);
  const { failure } = await run('python3', args, { cwd: folder, env });
  if (failure === null) return;
  throw new ToolUnavailable(
    failure === 'ENOENT'
      ? `${tool.name} cannot be had: python3 is not on the PATH; install Python 3.10 or newer with pip.`
      : `${tool.name} cannot be had (${failure}); the first run needs pip and the Python package index.`,
  );
}

/** Runs a builder. `failure`: null when it succeeded, ENOENT when there is no such program, else its complaint. */
function run(
  command: string,
  args: readonly string[],
  { cwd, env }: { readonly cwd: string; readonly env: Env },
): Promise<{ readonly failure: string | null; readonly said: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env: { ...env }, timeout: BUILD_MS_MAX });
    child.stdin.end();
    let said = '';
    let complaints = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-OUTPUT_BYTES_MAX);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaints = (complaints + text).slice(-OUTPUT_BYTES_MAX);
    });
    child.on('error', (error: NodeJS.ErrnoException) =>
      resolve({ failure: error.code ?? error.message, said }),
    );
    child.on('close', (code, signal) => {
      const failure = code === 0 ? null : complaint(complaints) || `${command} ended with ${code ?? signal}`;
      resolve({ failure, said });
    });
  });
}

/** The last two lines that a builder said, notes of what it downloads apart. */
function complaint(said: string): string {
  const lines = said.split('\n').map((line) => line.trim());
  return lines
    .filter((line) => line !== '' && !line.startsWith('go: downloading'))
    .slice(-2)
    .join(' ');
}
