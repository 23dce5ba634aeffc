import { execFile } from 'node:child_process';
import { mkdir, readdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A file system of a few kilobytes, so that a test can fill it. */
export type SmallDisk = {
  /** Leaves no byte free. */
  fill(): Promise<void>;
  /** Gives back what `fill` took. */
  free(): Promise<void>;
  unmount(): Promise<void>;
};

/** Mounts a tmpfs at a folder. @returns null where this process may not */
export async function mountSmallDisk(folder: string, kilobytes: number): Promise<SmallDisk | null> {
  await mkdir(folder, { recursive: true });
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${kilobytes}k`, 'tmpfs', folder]);
  } catch {
    return null;
  }
  const filler = join(folder, 'filler');
  return {
    fill: async () => {
      for (;;) {
        const { bavail, bsize } = await statfs(folder);
        if (bavail === 0) return;
        await writeFile(filler, Buffer.alloc(Number(bavail) * Number(bsize)), { flag: 'a' }).catch(() => {});
      }
    },
    free: async () => {
      if ((await readdir(folder)).includes('filler')) await rm(filler);
    },
    unmount: async () => {
      await run('umount', ['-l', folder]);
    },
  };
}
