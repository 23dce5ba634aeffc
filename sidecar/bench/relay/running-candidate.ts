import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { type Memory, memoryOf, processTree } from './load/process-tree.ts';
import type { Candidate, Ground } from './peers/candidate.ts';

const CORE = '1';
const START_MS_MAX = 20_000;
const STOP_MS_MAX = 5000;
/** The end of what a candidate prints, kept for the error when it does not start. */
const SAID_CHARACTERS_MAX = 2000;
/** From the open port to where a start's own work has settled. */
const SETTLE_MS = 1500;

/** A candidate that runs, pinned to the second core or to those that it names. */
export type RunningCandidate = {
  readonly name: string;
  readonly version: string;
  readonly port: number;
  readonly pid: number;
  readonly idle: Memory;
  stop(): Promise<void>;
};

const running = new Set<ChildProcess>();
// Also when the benchmark is interrupted.
process.on('exit', () => {
  for (const child of running) child.kill();
});

/** @returns null when the program is not there */
export async function startCandidate(candidate: Candidate, ground: Ground): Promise<RunningCandidate | null> {
  const version = await candidate.version();
  if (version === null) return null;
  const port = await freePort();
  const { command, args, env } = await candidate.prepare(ground, port);
  const child = spawn('taskset', ['-c', candidate.cores ?? CORE, command, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (said = `${said}${String(chunk)}`.slice(-SAID_CHARACTERS_MAX)));
  }
  running.add(child);
  child.on('exit', () => running.delete(child));
  const stop = (): Promise<void> => stopChild(child);
  const exited = once(child, 'exit').then(() => {
    throw new Error(`${candidate.name} ended before it listened; it said: ${said}`);
  });
  const listening = waitForPort(port);
  await Promise.race([listening, exited]).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  exited.catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const pid = child.pid as number;
  return { name: candidate.name, version, port, pid, idle: memoryOf(processTree(pid)), stop };
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
  await exit;
  clearTimeout(late);
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function waitForPort(port: number): Promise<void> {
  const until = performance.now() + START_MS_MAX;
  while (performance.now() < until) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.on('connect', () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing listens on port ${port}`);
}
