import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { type EnsureToolOptions, ToolUnavailable } from './ensure-tool.ts';

const run = promisify(execFile);
const INSTALL_MS_MAX = 300_000;
/** Another process may be installing. */
const LOCK_SECONDS_MAX = 240;
const SYSTEM_FOLDERS = ['/usr/sbin', '/usr/local/sbin'];

/** Programs that tests run, by the package that brings each; dpkg-deb is there on every Debian. */
export const DEBIAN_PROGRAMS = {
  prometheus: 'prometheus',
  promtool: 'prometheus',
  'redis-server': 'redis-server',
  podman: 'podman',
  buildah: 'buildah',
  runc: 'runc',
  'dpkg-deb': 'dpkg',
} as const;

export type DebianProgram = keyof typeof DEBIAN_PROGRAMS;

/**
 * Makes sure that a program is there that a Debian package brings, and installs the package where it is missing, this is
 * Debian and we are root.
 * @returns the path of the program
 * @throws ToolUnavailable
 */
export async function ensureDebianProgram(
  name: DebianProgram,
  { env, onProgress }: EnsureToolOptions,
): Promise<string> {
  const packageName = DEBIAN_PROGRAMS[name];
  const present = await find(name, env);
  if (present !== null) return present;
  const hint = `install Debian's package ${packageName}, or ${name} by other means`;
  if (process.getuid?.() !== 0)
    throw new ToolUnavailable(`${name} is not on the PATH, and only root can install it; ${hint}.`);
  onProgress?.(`installing Debian's package ${packageName}, once`);
  const apt = (...args: string[]) =>
    run('apt-get', ['-qq', '-o', `DPkg::Lock::Timeout=${LOCK_SECONDS_MAX}`, ...args], {
      // At run level 1 a package's own service is not started.
      env: { ...env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
      timeout: INSTALL_MS_MAX,
    });
  try {
    await apt('update');
    await apt('install', '-y', '--no-install-recommends', packageName);
  } catch (error) {
    const why = error instanceof Error ? error.message.trim().split('\n').at(-1) : String(error);
    throw new ToolUnavailable(`${name} cannot be had (${why}); ${hint}.`);
  }
  const installed = await find(name, env);
  if (installed === null) throw new ToolUnavailable(`${packageName} brought no ${name}; ${hint}.`);
  return installed;
}

async function find(name: string, env: EnsureToolOptions['env']): Promise<string | null> {
  const folders = [
    ...(env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== ''),
    ...SYSTEM_FOLDERS,
  ];
  for (const folder of folders) {
    const path = join(folder, name);
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  return null;
}
