import { type ChildProcess, spawn } from 'node:child_process';
import { type FileHandle, open, readFile } from 'node:fs/promises';

export type ChildOptions = {
  /** For people: `inference sidecar`. */
  readonly name: string;
  /** The program and its arguments, for Node; flags of Node's own come first. */
  readonly program: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Takes standard output and standard error; begun anew. */
  readonly logFile: string;
};

export type ChildExit = { readonly name: string; readonly how: string; readonly logFile: string };

export type Child = {
  readonly name: string;
  readonly pid: number;
  /** Resolves when the process has ended, for whatever reason. */
  readonly exited: Promise<ChildExit>;
  /** SIGTERM, then SIGKILL if the process has not ended in time. Resolves when it has ended. */
  stop(graceMs: number): Promise<ChildExit>;
};

const END_WITH_PARENT = import.meta.resolve('./end-with-parent.mjs');

/**
 * Starts a Node program in a process group of its own, so that Ctrl-C in the terminal does not reach it before its turn.
 * It ends when this process does, however that ends.
 */
export async function startChild(options: ChildOptions): Promise<Child> {
  const log = await open(options.logFile, 'w');
  try {
    const child = spawn(process.execPath, ['--import', END_WITH_PARENT, ...options.program], {
      cwd: options.cwd,
      env: { ...options.env },
      stdio: ['pipe', log.fd, log.fd],
      detached: true,
    });
    return watch(child, options);
  } finally {
    await closeQuietly(log);
  }
}

function watch(child: ChildProcess, { name, logFile }: ChildOptions): Child {
  // The pipe breaks when the child ends; `exited` reports that.
  child.stdin?.on('error', () => {});
  const exited = new Promise<ChildExit>((resolve) => {
    child.once('error', (error) => resolve({ name, logFile, how: `could not start: ${error.message}` }));
    child.once('exit', (code, signal) =>
      resolve({ name, logFile, how: signal === null ? `exit code ${code}` : `signal ${signal}` }),
    );
  });
  return {
    name,
    pid: child.pid ?? 0,
    exited,
    stop: async (graceMs) => {
      child.kill('SIGTERM');
      const forced = setTimeout(() => child.kill('SIGKILL'), graceMs);
      try {
        return await exited;
      } finally {
        clearTimeout(forced);
      }
    },
  };
}

/** The end of a log, for showing why a process has ended. */
export async function lastLines(logFile: string, linesMax: number): Promise<string[]> {
  const text = await readFile(logFile, 'utf8').catch(() => '');
  return text.trimEnd().split('\n').slice(-linesMax);
}

async function closeQuietly(handle: FileHandle): Promise<void> {
  await handle.close().catch(() => {});
}
