import { RpcError } from '@gatehouse/service-kit';
import { status } from '@grpc/grpc-js';
import { type Condition, evaluateCondition } from '../graph/condition.ts';
import type { MapAction, ParallelAction, PlannedNode, SwitchAction } from '../graph/plan.ts';
import type { Json } from '../graph/types.ts';
import type { Execution } from './execution.ts';
import { limitReached } from './failures.ts';
import type { CallBounds } from './model-calls.ts';
import { innerScope, listOf, outputOf, type Scope } from './scope.ts';
import { together } from './together.ts';

/** What a node that holds others runs them with. */
export interface Inner {
  readonly execution: Execution;
  readonly bounds: CallBounds;
  /** The path of the node that holds them. */
  readonly path: string;
  readonly runNodes: (
    nodes: readonly PlannedNode[],
    scope: Scope,
    run: { readonly execution: Execution; readonly bounds: CallBounds; readonly prefix: string },
  ) => Promise<void>;
}

/** Runs the nodes of the first case that holds. Gives the output of the list's last node, or null for an empty list. */
export async function runSwitch(action: SwitchAction, scope: Scope, inner: Inner): Promise<Json> {
  const chosen = action.cases.find(({ condition }) => holds(condition, scope, inner.execution));
  const nodes = chosen?.nodes ?? action.otherwise;
  const inside = innerScope(scope);
  await inner.runNodes(nodes, inside, { ...inner, prefix: `${inner.path}/` });
  return lastOutput(nodes, inside);
}

/** Runs all nodes at the same time. Gives an object of their outputs by id. */
export async function runParallel(action: ParallelAction, scope: Scope, inner: Inner): Promise<Json> {
  const inside = innerScope(scope);
  await inner.runNodes(action.nodes, inside, { ...inner, prefix: `${inner.path}/` });
  return Object.fromEntries(action.nodes.map(({ id }) => [id, outputOf(id, inside)]));
}

/** Runs the nodes once per item, `concurrencyMax` items at a time. Gives the last node's outputs in the items' order. */
export async function runMap(action: MapAction, scope: Scope, inner: Inner): Promise<Json> {
  const { textBytesMax, mapItemsMax } = inner.execution.limits;
  const items = listOf(action.over, scope, textBytesMax);
  if (items.length > mapItemsMax) {
    throw limitReached(
      'mapItemsMax',
      mapItemsMax,
      `A map runs over ${items.length} items; the limit is ${mapItemsMax}.`,
    );
  }
  const outputs: Json[] = Array.from(items, () => null);
  const waiting = items.entries();
  const worker = async (signal: AbortSignal): Promise<void> => {
    for (const [index, value] of waiting) {
      signal.throwIfAborted();
      const inside = innerScope(scope, { value, index });
      const bounds = { ...inner.bounds, signal };
      await inner.runNodes(action.nodes, inside, { ...inner, bounds, prefix: `${inner.path}[${index}]/` });
      outputs[index] = lastOutput(action.nodes, inside);
    }
  };
  const workers = Math.min(action.concurrencyMax, items.length);
  await together(
    inner.bounds.signal,
    Array.from({ length: workers }, () => worker),
  );
  return outputs;
}

function lastOutput(nodes: readonly PlannedNode[], scope: Scope): Json {
  const last = nodes.at(-1);
  return last ? outputOf(last.id, scope) : null;
}

function holds(condition: Condition, scope: Scope, execution: Execution): boolean {
  const msLeft = execution.conditionMsLeft();
  const answer = evaluateCondition(condition, conditionScope(condition, scope), msLeft);
  execution.spendConditionMs(answer.tookMs);
  switch (answer.kind) {
    case 'answered':
      return answer.holds;
    case 'error':
      throw new RpcError(status.FAILED_PRECONDITION, `A condition cannot be evaluated: ${answer.error}.`, {
        errorInfo: { reason: 'CONDITION_FAILED' },
      });
    case 'late': {
      const { conditionsMsMax } = execution.limits;
      throw limitReached(
        'conditionsMsMax',
        conditionsMsMax,
        `The conditions take more than ${conditionsMsMax} ms in all.`,
      );
    }
  }
}

function conditionScope(condition: Condition, scope: Scope) {
  return {
    inputs: Object.fromEntries([...condition.inputs].map((name) => [name, scope.inputs.get(name) ?? null])),
    nodes: Object.fromEntries([...condition.nodes].map((id) => [id, { output: outputOf(id, scope) }])),
    ...(scope.item && { item: scope.item.value, index: scope.item.index }),
  };
}
