import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const SERVERS = ['redis-server', 'valkey-server'];
const PACKAGE = 'redis-server';
const INSTALL_MS_MAX = 180_000;
const START_MS_MAX = 10_000;

export type RedisProgram = { readonly file: string } | { readonly missing: string };

/** A Redis or Valkey server: the machine's own, or Debian's, which apt-get installs at the first time. */
export async function findRedisServer(): Promise<RedisProgram> {
  const own = await installed();
  if (own !== null) return { file: own };
  // At run level 1 the package's own service is not started.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const options = { timeout: INSTALL_MS_MAX, env };
  try {
    await run('apt-get', ['install', '--yes', '--no-install-recommends', PACKAGE], options).catch(
      async () => {
        await run('apt-get', ['update'], options);
        await run('apt-get', ['install', '--yes', '--no-install-recommends', PACKAGE], options);
      },
    );
  } catch (error) {
    const lines = String((error as { stderr?: string }).stderr || error)
      .trim()
      .split('\n');
    return { missing: `no ${PACKAGE}, and none to be had: ${lines.at(-1) ?? ''}` };
  }
  const file = await installed();
  return file === null ? { missing: `no ${PACKAGE} after it was installed` } : { file };
}

async function installed(): Promise<string | null> {
  for (const name of SERVERS) {
    const found = await run(name, ['--version']).then(
      () => name,
      () => null,
    );
    if (found !== null) return found;
  }
  return null;
}

/** A server on a Unix socket of its own, with nothing on disk. */
export type RedisServer = {
  /** `unix:/path` */
  readonly address: string;
  /** At once, as a crash would. */
  kill(): Promise<void>;
  /** Again at the same socket, and empty. */
  start(): Promise<void>;
  /** It neither answers nor closes connections, until `resume`. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
};

/** @param more further arguments, as for a TLS port beside the socket */
export async function startRedisServer(file: string, more: readonly string[] = []): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'gh-redis-'));
  const socket = join(folder, 'redis.sock');
  let child: ChildProcess | null = null;
  const start = async (): Promise<void> => {
    const args = [
      '--port',
      '0',
      '--unixsocket',
      socket,
      '--save',
      '',
      '--appendonly',
      'no',
      '--dir',
      folder,
      ...more,
    ];
    child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await ready(child);
  };
  const kill = async (): Promise<void> => {
    if (child === null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
    child = null;
  };
  await start();
  return {
    address: `unix:${socket}`,
    kill,
    start,
    pause: () => child?.kill('SIGSTOP'),
    resume: () => child?.kill('SIGCONT'),
    stop: async () => {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function ready(child: ChildProcess): Promise<void> {
  const failed = AbortSignal.timeout(START_MS_MAX);
  let said = '';
  while (!/ready to accept connections/i.test(said)) {
    const [chunk] = (await once(child.stdout as NodeJS.EventEmitter, 'data', { signal: failed })) as [Buffer];
    said += chunk.toString();
  }
  child.stdout?.resume();
}
