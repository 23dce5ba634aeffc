import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { modelFile } from './model-file.ts';

/** llama.cpp's server inside a Python wheel of 34 MB; nothing of it is ours. */
const wheel = 'xllamacpp==2026.10.11549';
const installMsMax = 120_000;
const startMsMax = 30_000;

export interface LlamaServer {
  readonly baseUrl: string;
  stop(): Promise<void>;
}

/** @returns the server, or why it cannot be had on this machine */
export async function startLlamaServer(): Promise<LlamaServer | string> {
  const folder = await install().catch((error: unknown) => String(error).split('\n')[0]);
  if (!folder?.startsWith('/')) return `${wheel} cannot be installed: ${folder}`;
  const script = fileURLToPath(new URL('./llama-server.py', import.meta.url));
  const child = spawn('python3', [script, modelFile], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { ...process.env, PYTHONPATH: folder },
  });
  const address = await firstLine(child);
  const stop = async () => {
    if (child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  if (!address.startsWith('http')) {
    await stop();
    return `${wheel} does not run here: ${address}`;
  }
  return { baseUrl: `${address}/v1`, stop };
}

/** Installs once, into a cache outside the repository; a half-installed folder never takes the place of a whole one. */
async function install(): Promise<string> {
  const folder = join(
    process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'),
    'gatehouse',
    'tools',
    wheel,
  );
  const there = await access(folder).then(
    () => true,
    () => false,
  );
  if (there) return folder;
  const partial = `${folder}.${process.pid}`;
  const pip = [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--no-deps',
    '--only-binary',
    ':all:',
    '--target',
    partial,
    wheel,
  ];
  try {
    await promisify(execFile)('python3', pip, { timeout: installMsMax });
    await rename(partial, folder);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  return folder;
}

async function firstLine(child: ChildProcess): Promise<string> {
  const timer = setTimeout(() => child.kill('SIGKILL'), startMsMax);
  try {
    if (!child.stdout) return 'it has no output';
    for await (const line of createInterface(child.stdout)) return line;
    return 'it ended';
  } finally {
    clearTimeout(timer);
  }
}
