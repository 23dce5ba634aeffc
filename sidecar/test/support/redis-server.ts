import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureDebianProgram } from '../../../libs/tooling/src/external-tools/ensure-debian-program.ts';
import { ToolUnavailable } from '../../../libs/tooling/src/external-tools/ensure-tool.ts';

const START_MS_MAX = 10_000;

export type RedisProgram = { readonly file: string } | { readonly missing: string };

/** The machine's own Redis, or Debian's, which is installed at the first time. */
export async function findRedisServer(): Promise<RedisProgram> {
  const onProgress = (line: string) => process.stderr.write(`  ${line}\n`);
  try {
    return { file: await ensureDebianProgram('redis-server', { env: process.env, onProgress }) };
  } catch (error) {
    if (!(error instanceof ToolUnavailable)) throw error;
    return { missing: error.message };
  }
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
