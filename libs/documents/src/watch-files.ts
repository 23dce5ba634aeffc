import { type FSWatcher, watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';

export type WatchOptions = {
  /** Quiet time after a file event before the files are read, so that a half-written set is not taken. Default 100. */
  readonly settleMs?: number;
  /** How often the files are read without an event, for file systems that give none. Default 10,000. */
  readonly pollMs?: number;
  /** Files that count as empty while they are not there. Default: none. */
  readonly mayBeMissing?: ReadonlySet<string>;
  /** The files' contents have changed. Called with the contents in the order of the files. */
  readonly onChange: (contents: readonly string[]) => void;
  /** The files can't be read; said once until they can be again. */
  readonly onError: (error: Error) => void;
};

export type FileWatch = { close(): void };

const SETTLE_MS = 100;
const POLL_MS = 10_000;

/**
 * Follows a set of files that belong together: written in place, renamed over, or swapped as a whole by the `..data`
 * link of a Kubernetes volume. A set is given only when all its files could be read.
 * @param known the contents that the caller has already
 */
export function watchFiles(
  files: readonly string[],
  known: readonly string[],
  options: WatchOptions,
): FileWatch {
  const { settleMs = SETTLE_MS, pollMs = POLL_MS, mayBeMissing, onChange, onError } = options;
  let taken = known.join('\0');
  let failed = '';
  let settling: NodeJS.Timeout | undefined;
  let loading = false;
  let closed = false;

  const load = async (): Promise<void> => {
    if (loading) {
      settle();
      return;
    }
    loading = true;
    try {
      const contents = await Promise.all(
        files.map((file) => readText(file, mayBeMissing?.has(file) ?? false)),
      );
      if (closed) return;
      failed = '';
      if (contents.join('\0') === taken) return;
      taken = contents.join('\0');
      onChange(contents);
    } catch (cause) {
      const error = cause instanceof Error ? cause : new Error(String(cause));
      if (closed || failed === error.message) return;
      failed = error.message;
      onError(error);
    } finally {
      loading = false;
    }
  };
  const settle = (): void => {
    if (closed) return;
    clearTimeout(settling);
    settling = setTimeout(() => void load(), settleMs);
  };

  const watchers = watchDirectories(files, settle);
  const polling = setInterval(() => void load(), pollMs);
  polling.unref();
  return {
    close: () => {
      closed = true;
      clearTimeout(settling);
      clearInterval(polling);
      for (const watcher of watchers) watcher.close();
    },
  };
}

async function readText(file: string, mayBeMissing: boolean): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (mayBeMissing && (error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/** Directories, not files: a renamed or relinked file would take its watch with it. */
function watchDirectories(files: readonly string[], onEvent: () => void): FSWatcher[] {
  return [...new Set(files.map((file) => dirname(file)))].flatMap((directory) => {
    try {
      const watcher = watch(directory, { persistent: false }, onEvent);
      watcher.on('error', () => watcher.close()); // The poll goes on where a watch cannot.
      return [watcher];
    } catch {
      return []; // Out of watches (ENOSPC) or no such facility: the poll alone follows this directory.
    }
  });
}
