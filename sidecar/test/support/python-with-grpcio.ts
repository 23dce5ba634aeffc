import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const GRPCIO = 'grpcio==1.85.1';
const INSTALL_MS_MAX = 240_000;

export type Python = { readonly file: string } | { readonly missing: string };

/** A Python that has grpcio: the machine's own, or one in a cache folder that pip fills at the first time. */
export async function findPythonWithGrpcio(): Promise<Python> {
  if (await hasGrpcio('python3')) return { file: 'python3' };
  const caches = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const folder = join(caches, 'gatehouse', `python-${GRPCIO.replaceAll('=', '')}`);
  const file = join(folder, 'bin', 'python');
  if (await hasGrpcio(file)) return { file };
  try {
    await install(folder);
    return { file };
  } catch (error) {
    const lines = String((error as { stderr?: string }).stderr || error)
      .trim()
      .split('\n');
    return { missing: `no Python with grpcio, and none to be had: ${lines.at(-1) ?? ''}` };
  }
}

async function hasGrpcio(python: string): Promise<boolean> {
  return run(python, ['-c', 'import grpc']).then(
    () => true,
    () => false,
  );
}

/** Built beside its place and moved there whole, so that a run that is cut off leaves nothing half done. */
async function install(folder: string): Promise<void> {
  await mkdir(join(folder, '..'), { recursive: true });
  const building = await mkdtemp(`${folder}.`);
  try {
    await run('python3', ['-m', 'venv', building], { timeout: INSTALL_MS_MAX });
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', GRPCIO];
    await run(join(building, 'bin', 'python'), pip, { timeout: INSTALL_MS_MAX });
    await rm(folder, { recursive: true, force: true });
    await rename(building, folder);
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}
