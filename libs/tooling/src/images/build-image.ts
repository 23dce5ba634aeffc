import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeContext } from './write-context.ts';

const BUILD_MS_MAX = 900_000;

export type ImageBuild = {
  /** One of IMAGE_NAMES. */
  readonly name: string;
  /** What the image is called afterwards. */
  readonly reference: string;
  /** The image to begin from. Not used by a base itself. */
  readonly base?: string | undefined;
  /** The commit, for the label. Default: unknown. */
  readonly revision?: string | undefined;
  /** Seconds since 1970: the time of every file, and of the image's making. Default: 0. */
  readonly epochS?: number | undefined;
  /** Options of buildah itself, such as where images are kept. Default: none. */
  readonly storage?: readonly string[];
};

/**
 * Builds an image with buildah. The same sources on the same base are the same layers, to the byte; the same image, too, where
 * it has no health command.
 * @param root of the repository, with its code generated
 * @returns the image's id, which is the hash of its configuration and layers
 */
export async function buildImage(root: string, build: ImageBuild): Promise<string> {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-image-'));
  try {
    const context = join(folder, 'context');
    await writeContext(root, build.name, context);
    const idFile = join(folder, 'id');
    // A service's Dockerfile is that of three.
    const known = { BASE: build.base, NAME: build.name, VERSION: version, REVISION: build.revision };
    const dockerfile = await readFile(join(context, 'Dockerfile'), 'utf8');
    const given = Object.entries(known).flatMap(([key, value]) =>
      value !== undefined && dockerfile.includes(`ARG ${key}`) ? ['--build-arg', `${key}=${value}`] : [],
    );
    // Health commands are Docker's, whose configuration also names the container that the image was built in.
    const format = dockerfile.includes('HEALTHCHECK') ? 'docker' : 'oci';
    const args = [...(build.storage ?? []), 'bud', '--quiet', '--isolation=chroot', `--format=${format}`];
    // No time but ours, no version of the builder.
    args.push(`--timestamp=${build.epochS ?? 0}`, '--identity-label=false', '--iidfile', idFile);
    args.push('--pull-never', ...given, '--tag', build.reference, context);
    await promisify(execFile)('buildah', args, { timeout: BUILD_MS_MAX });
    return (await readFile(idFile, 'utf8')).trim();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
