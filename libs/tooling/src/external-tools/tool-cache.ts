import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** How long one process waits while another builds the same tool. */
const LOCK_WAIT_MS_MAX = 900_000;
const LOCK_POLL_MS = 200;
/** A temporary folder that is older belongs to a build that was killed. */
const LEFTOVER_AGE_MS_MIN = 3_600_000;

export type Env = Readonly<Record<string, string | undefined>>;

/** The folder that holds one folder per tool and recipe. */
export function toolsDir(env: Env): string {
  if (env['GATEHOUSE_TOOLS_DIR']) return resolve(env['GATEHOUSE_TOOLS_DIR']);
  const cache = env['XDG_CACHE_HOME'] || join(env['HOME'] || env['USERPROFILE'] || '.', '.cache');
  return resolve(cache, 'gatehouse', 'tools');
}

/**
 * Makes `<root>/<name>` by letting `build` fill a temporary folder that is then renamed, so that the folder exists
 * whole or not at all. One process builds, others wait for it.
 * @returns the folder
 */
export async function onceInFolder(
  root: string,
  name: string,
  build: (temporary: string) => Promise<void>,
): Promise<string> {
  const folder = join(root, name);
  if (await exists(folder)) return folder;
  await mkdir(root, { recursive: true });
  const unlock = await lock(join(root, `.${name}.lock`));
  const temporary = join(root, `.build-${randomUUID()}`);
  try {
    if (await exists(folder)) return folder;
    await removeLeftovers(root);
    await mkdir(temporary);
    await build(temporary);
    await rename(temporary, folder);
    return folder;
  } finally {
    await rm(temporary, { recursive: true, force: true });
    await unlock();
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}

/**
 * Waits until the lock file is ours. One whose process has gone is taken over; should two processes do that at the same
 * moment, both build, and the second finds the folder in place: wasteful, but never wrong.
 */
async function lock(path: string): Promise<() => Promise<void>> {
  const attemptsMax = LOCK_WAIT_MS_MAX / LOCK_POLL_MS;
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    try {
      const file = await open(path, 'wx');
      await file.writeFile(String(process.pid));
      await file.close();
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    if (!(await ownerLives(path))) await rm(path, { force: true });
    else await delay(LOCK_POLL_MS);
  }
  throw new Error(`${path} is held by another process; remove it if none is building`);
}

async function ownerLives(path: string): Promise<boolean> {
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) return false;
  // Made this very moment, and the number is not written yet.
  if (text === '') return true;
  try {
    process.kill(Number(text), 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function removeLeftovers(root: string): Promise<void> {
  const newest = performance.timeOrigin + performance.now() - LEFTOVER_AGE_MS_MIN;
  for (const name of await readdir(root)) {
    const path = join(root, name);
    if (!name.startsWith('.build-') || (await stat(path)).mtimeMs > newest) continue;
    await rm(path, { recursive: true, force: true });
  }
}
