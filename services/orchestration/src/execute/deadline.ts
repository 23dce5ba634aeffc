import { RpcError } from '@gatehouse/service-kit';
import { status } from '@grpc/grpc-js';
import { NodeFailed, nodeDeadlineExceeded } from './failures.ts';
import type { CallBounds } from './model-calls.ts';

/**
 * Runs a task within a node's deadline, which is passed on to its calls. When it passes, the task is cancelled and
 * DEADLINE_EXCEEDED is thrown once it has ended.
 * @param deadlineMs from now; undefined leaves the bounds as they are
 */
export async function withinDeadline<T>(
  deadlineMs: number | undefined,
  bounds: CallBounds,
  now: () => number,
  task: (bounds: CallBounds) => Promise<T>,
): Promise<T> {
  const deadline = now() + (deadlineMs ?? Infinity);
  if (deadlineMs === undefined || deadline >= bounds.deadline) return task(bounds);
  const own = new AbortController();
  const timer = setTimeout(() => own.abort(nodeDeadlineExceeded()), deadlineMs);
  try {
    return await task({ signal: AbortSignal.any([bounds.signal, own.signal]), deadline });
  } catch (error) {
    // The callee counts the same deadline and may be the first to notice.
    const late = error instanceof RpcError && error.code === status.DEADLINE_EXCEEDED;
    throw late && !(error instanceof NodeFailed) && !bounds.signal.aborted ? nodeDeadlineExceeded() : error;
  } finally {
    clearTimeout(timer);
  }
}
