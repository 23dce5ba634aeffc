/**
 * Loaded into each process of the mesh before its own program (`--import`). The process that started it holds the other
 * end of its standard input; when that process is gone, however it ended, this one ends as well.
 *
 * JavaScript, because it is loaded into processes that otherwise find all their code compiled and strip no types.
 */
import { isMainThread } from 'node:worker_threads';

const FORCED_AFTER_MS = 10_000;

// Worker threads load this too; their standard input is none of the parent's.
if (isMainThread) {
  process.stdin.on('end', () => {
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), FORCED_AFTER_MS).unref();
    process.kill(process.pid, 'SIGTERM');
  });
  process.stdin.on('error', () => {});
  process.stdin.resume();
  // On its own this keeps no process alive.
  process.stdin.unref?.();
}
