import { RpcError } from '@gatehouse/service-kit';
import type { PlannedNode } from '../graph/plan.ts';
import type { Json } from '../graph/types.ts';
import { callWithRetries, type Tries } from './attempts.ts';
import { withinDeadline } from './deadline.ts';
import type { Execution } from './execution.ts';
import { locate } from './failures.ts';
import type { CallBounds } from './model-calls.ts';
import { observeNode } from './observe-node.ts';
import { runMap, runParallel, runSwitch } from './run-inner.ts';
import type { Scope } from './scope.ts';
import { together } from './together.ts';

/** Where and within which bounds nodes run. */
export interface Run {
  readonly execution: Execution;
  readonly bounds: CallBounds;
  /** What stands before the ids of the nodes: empty, or `each[2]/`. */
  readonly prefix: string;
}

/**
 * Runs a list of nodes, each as soon as the ones that it refers to have ended, and fills the scope with their outputs.
 * @throws the first failure, once all that ran has ended
 */
export async function runNodes(nodes: readonly PlannedNode[], scope: Scope, run: Run): Promise<void> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const started = new Map<string, Promise<void>>();
  const start = (node: PlannedNode, signal: AbortSignal): Promise<void> => {
    const running = started.get(node.id);
    if (running) return running;
    const before = [...node.refersTo].flatMap((id) => byId.get(id) ?? []).filter((other) => other !== node);
    const ended = (async () => {
      await Promise.all(before.map((other) => start(other, signal)));
      const output = await runNode(node, scope, { ...run, bounds: { ...run.bounds, signal } });
      scope.outputs.set(node.id, output);
    })();
    started.set(node.id, ended);
    return ended;
  };
  await together(
    run.bounds.signal,
    nodes.map((node) => (signal) => start(node, signal)),
  );
}

/**
 * Runs one node: its tries, its deadline, its fallback, its events and its span.
 * @throws NodeFailed when it has failed for good, or what the bounds' signal was aborted with
 */
async function runNode(node: PlannedNode, scope: Scope, run: Run): Promise<Json> {
  run.bounds.signal.throwIfAborted();
  const path = `${run.prefix}${node.id}`;
  const tries: Tries = { count: 0 };
  return observeNode({ path, kind: node.action.kind, tries, execution: run.execution }, async () => {
    run.execution.countNode();
    try {
      return { value: await actWithinDeadline({ node, scope, run, path, tries }) };
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      run.bounds.signal.throwIfAborted();
      const failure = locate(error, path);
      if (!node.fallback) throw failure;
      return { value: await fallBack({ node, scope, run, path, tries }), failure };
    }
  });
}

interface Act {
  readonly node: PlannedNode;
  readonly scope: Scope;
  readonly run: Run;
  readonly path: string;
  readonly tries: Tries;
  /** In place of the node's own model. */
  readonly model?: string;
}

async function fallBack(act: Act): Promise<Json> {
  const { node, run, path } = act;
  if (node.fallback?.kind !== 'model') return node.fallback?.value ?? null;
  try {
    return await actWithinDeadline({ ...act, model: node.fallback.model });
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    run.bounds.signal.throwIfAborted();
    throw locate(error, path);
  }
}

function actWithinDeadline({ node, scope, run, path, tries, model }: Act): Promise<Json> {
  const { action, retry } = node;
  const { execution } = run;
  return withinDeadline(node.deadlineMs, run.bounds, execution.now, (bounds) => {
    const inner = { execution, bounds, path, runNodes };
    switch (action.kind) {
      case 'generate':
      case 'embed':
      case 'retrieve':
        return callWithRetries({
          action,
          retry,
          scope,
          execution,
          run: bounds,
          model: model ?? action.model,
          path,
          tries,
        });
      case 'switch':
        return runSwitch(action, scope, inner);
      case 'parallel':
        return runParallel(action, scope, inner);
      case 'map':
        return runMap(action, scope, inner);
    }
  });
}
