import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type GoTool, PINNED_TOOLS, type PinnedTool, type PythonTool } from './pinned-tools.ts';
import { type Env, onceInFolder, toolsDir } from './tool-cache.ts';

const BUILD_MS_MAX = 1_200_000;
/** What is kept of a failing build's output, for the error's sentence. */
const STDERR_BYTES_MAX = 4_096;

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

/** Names the state of everything that the build depends on. */
async function recipeHash(tool: PinnedTool): Promise<string> {
  const hash = createHash('sha256');
  if (tool.kind === 'python') hash.update(tool.requirement);
  else for (const file of ['go.mod', 'go.sum']) hash.update(await readFile(join(tool.module, file)));
  return hash.digest('hex').slice(0, 12);
}

async function buildGo(tool: GoTool, folder: string, { env, onProgress }: EnsureToolOptions): Promise<void> {
  onProgress?.(`building ${tool.name} with Go, once (${tool.buildTakes})`);
  for (const [command, file] of Object.entries(tool.commands)) {
    const args = [
      'build',
      '-mod=readonly',
      '-buildvcs=false',
      '-trimpath',
      '-o',
      join(folder, file),
      command,
    ];
    const failure = await run('go', args, { cwd: tool.module, env: { ...env, CGO_ENABLED: '0' } });
    if (failure === null) continue;
    throw new ToolUnavailable(
      failure === 'ENOENT'
        ? `${tool.name} cannot be built: go is not on the PATH; install Go 1.26 or newer from go.dev/dl.`
        : `${tool.name} cannot be built (${failure}); the first build needs the Go module proxy.`,
    );
  }
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
  const failure = await run('python3', args, { cwd: folder, env });
  if (failure === null) return;
  throw new ToolUnavailable(
    failure === 'ENOENT'
      ? `${tool.name} cannot be had: python3 is not on the PATH; install Python 3.10 or newer with pip.`
      : `${tool.name} cannot be had (${failure}); the first run needs pip and the Python package index.`,
  );
}

/** Runs a builder; null when it succeeded, ENOENT when there is no such program, else what it complained of. */
function run(
  command: string,
  args: readonly string[],
  { cwd, env }: { readonly cwd: string; readonly env: Env },
): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: BUILD_MS_MAX,
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-STDERR_BYTES_MAX);
    });
    child.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(null);
      resolve(complaint(said) || `${command} ended with ${code ?? signal}`);
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
