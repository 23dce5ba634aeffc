import { setTimeout as sleep } from 'node:timers/promises';
import { RpcError } from '@gatehouse/service-kit';
import { status } from '@grpc/grpc-js';
import type { CallAction, RetryPlan } from '../graph/plan.ts';
import type { Json } from '../graph/types.ts';
import type { Attempt } from './attempt.ts';
import { embed, retrieve } from './embed.ts';
import type { Execution } from './execution.ts';
import { generate } from './generate.ts';
import type { CallBounds } from './model-calls.ts';
import type { Scope } from './scope.ts';

/** Counts the tries of a node over its retries and its fallback. */
export interface Tries {
  count: number;
}

const retryable: ReadonlySet<status> = new Set([
  status.UNAVAILABLE,
  status.RESOURCE_EXHAUSTED,
  status.ABORTED,
]);

export interface CallRun {
  readonly action: CallAction;
  readonly retry: RetryPlan;
  readonly scope: Scope;
  readonly execution: Execution;
  readonly run: CallBounds;
  readonly model: string;
  readonly path: string;
  readonly tries: Tries;
}

/**
 * Calls a model, again where the failure may pass and the plan allows it. Waits between tries as long as the callee
 * asks (RetryInfo), and at least the backoff, which doubles each time, with jitter; gives up when the wait would reach
 * past the deadline.
 */
export async function callWithRetries(call: CallRun): Promise<Json> {
  const { execution, retry, run } = call;
  for (let nth = 1; ; nth += 1) {
    try {
      return await execution.slots.run(run.signal, () => callOnce(call));
    } catch (error) {
      if (!(error instanceof RpcError) || !mayPass(error) || nth >= retry.attemptsMax) throw error;
      const waitMs = retryWaitMs(error, nth, retry.backoffMs, execution.random());
      if (execution.now() + waitMs >= run.deadline) throw error;
      await wait(waitMs, run.signal);
    }
  }
}

async function callOnce({ action, scope, execution, run, model, path, tries }: CallRun): Promise<Json> {
  tries.count += 1;
  const attempt = tries.count;
  const tellDelta = (text: string): Promise<void> =>
    execution.emit({
      $case: 'nodeDelta',
      value: { path, text, outputTokens: execution.usage.outputTokens, attempt },
    });
  const value = await callModel(action, scope, { execution, run, model, tellDelta });
  return execution.hold(value);
}

function callModel(action: CallAction, scope: Scope, attempt: Attempt): Promise<Json> {
  switch (action.kind) {
    case 'generate':
      return generate(action, scope, attempt);
    case 'embed':
      return embed(action, scope, attempt);
    case 'retrieve':
      return retrieve(action, scope, attempt);
  }
}

/** A limit of the execution itself does not pass by waiting, though its code says RESOURCE_EXHAUSTED. */
function mayPass(error: RpcError): boolean {
  return retryable.has(error.code) && error.details.errorInfo?.reason !== 'EXECUTION_LIMIT';
}

/** Half to all of the doubled backoff, so that callers that failed together do not come back together. */
function retryWaitMs(error: RpcError, nth: number, backoffMs: number, random: number): number {
  const backoff = backoffMs * 2 ** (nth - 1);
  return Math.max(backoff * (0.5 + random / 2), error.details.retryDelayMs ?? 0);
}

async function wait(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
  signal.throwIfAborted();
}
