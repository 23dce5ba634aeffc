import type { FSWatcher } from 'node:fs';
import { watch } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Calls `onQuiet` when the directories of the files have been quiet for `settleMs` after an event, and every
 * `pollMs` besides. Directories are watched, not files: a renamed or relinked file would take its watch with it.
 *
 * @returns stops all of it
 */
export function followFiles(
  files: readonly string[],
  onQuiet: () => void,
  times: { readonly settleMs: number; readonly pollMs: number },
): () => void {
  let settling: NodeJS.Timeout | undefined;
  const onEvent = (): void => {
    clearTimeout(settling);
    settling = setTimeout(onQuiet, times.settleMs);
  };
  const watchers = [...new Set(files.map((file) => dirname(file)))]
    .map((directory) => watchDirectory(directory, onEvent))
    .filter((watcher) => watcher !== null);
  const polling = setInterval(onQuiet, times.pollMs);
  polling.unref();
  return () => {
    clearTimeout(settling);
    clearInterval(polling);
    for (const watcher of watchers) {
      watcher.close();
    }
  };
}

/** @returns null where the system has no more watches to give (ENOSPC): the poll alone follows this directory */
function watchDirectory(directory: string, onEvent: () => void): FSWatcher | null {
  try {
    const watcher = watch(directory, { persistent: false }, onEvent);
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    return null;
  }
}
