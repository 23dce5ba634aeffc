import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { type EnsureToolOptions, ToolUnavailable } from './ensure-tool.ts';
import { onceInFolder, toolsDir } from './tool-cache.ts';

const run = promisify(execFile);
const DOWNLOAD_MS_MAX = 600_000;

/** Files that Go modules carry beside their code, each pinned by its hash. */
export type ModuleFiles = {
  readonly name: string;
  /** What they are, for people: `the schemas of Kubernetes`. */
  readonly title: string;
  /** SHA-256 by path, by module with version. */
  readonly modules: Readonly<Record<string, Readonly<Record<string, string>>>>;
};

/**
 * Makes sure that files of Go modules are in the tools folder, and downloads the modules the first time; nothing is built.
 * @returns the folder that has them all, by their last names
 * @throws ToolUnavailable
 */
export async function ensureModuleFiles(
  { name, title, modules }: ModuleFiles,
  { env, onProgress }: EnsureToolOptions,
): Promise<string> {
  const recipe = createHash('sha256').update(JSON.stringify(modules)).digest('hex').slice(0, 12);
  return onceInFolder(toolsDir(env), `${name}-${recipe}`, async (temporary) => {
    onProgress?.(`downloading ${title}, once`);
    for (const [module, files] of Object.entries(modules)) {
      const folder = await download(module, temporary, env);
      for (const [path, sha256] of Object.entries(files)) {
        const content = await readFile(join(folder, path));
        const found = createHash('sha256').update(content).digest('hex');
        if (found !== sha256) {
          throw new ToolUnavailable(
            `${path} of ${module} is refused: its SHA-256 is ${found}, expected ${sha256}.`,
          );
        }
        await writeFile(join(temporary, basename(path)), content);
      }
    }
  }).catch((error: unknown) => {
    if (error instanceof ToolUnavailable) throw error;
    const why = error instanceof Error ? error.message.trim().split('\n').at(-1) : String(error);
    throw new ToolUnavailable(
      `${title} cannot be had (${why}); the first run needs Go and the Go module proxy.`,
    );
  });
}

/** @returns the folder of the module in Go's cache */
async function download(module: string, cwd: string, env: EnsureToolOptions['env']): Promise<string> {
  // Outside of any module, so that no go.mod is read or changed.
  const options = { cwd, env: { ...env, GOFLAGS: '' }, timeout: DOWNLOAD_MS_MAX };
  const { stdout } = await run('go', ['mod', 'download', '-json', module], options);
  const { Dir: folder } = JSON.parse(stdout) as { readonly Dir: string };
  return folder;
}
