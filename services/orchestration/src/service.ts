import {
  type ExecuteRequest,
  type ExecuteResponse,
  type GetGraphResponse,
  type ListGraphsResponse,
  OrchestrationServiceService,
  type StreamExecuteResponse,
} from '@gatehouse/contracts/orchestration';
import {
  type CallContext,
  defineService,
  invalidArgument,
  RpcError,
  type Service,
} from '@gatehouse/service-kit';
import { status } from '@grpc/grpc-js';
import { EventQueue } from './execute/event-queue.ts';
import { executeGraph } from './execute/execute-graph.ts';
import type { ExecutionEvent } from './execute/execution.ts';
import { executionLimits } from './execute/limits.ts';
import { type Channels, modelCalls } from './execute/model-calls.ts';
import { bindInputs } from './graph/inputs.ts';
import type { Plan } from './graph/plan.ts';
import type { Json } from './graph/types.ts';
import { type Violation, validateGraph } from './graph/validation.ts';
import type { GraphLibrary } from './graph-library.ts';

export interface OrchestrationDeps {
  readonly library: GraphLibrary;
  readonly channels: Channels;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** 0 up to 1. */
  readonly random: () => number;
}

/** Answers OrchestrationService. */
export function orchestrationService(deps: OrchestrationDeps): Service {
  return defineService(OrchestrationServiceService, {
    execute: async (request, ctx) =>
      execute(request, ctx, deps, { signal: ctx.signal, emit: async () => {} }),
    streamExecute: (request, ctx) => streamExecute(request, ctx, deps),
    listGraphs: async () => listGraphs(deps.library),
    getGraph: async ({ name }) => getGraph(name, deps.library),
  });
}

async function execute(
  request: ExecuteRequest,
  ctx: CallContext,
  { library, channels, now, random }: OrchestrationDeps,
  { signal, emit }: { signal: AbortSignal; emit: (event: ExecutionEvent) => Promise<void> },
): Promise<ExecuteResponse> {
  const plan = planOf(request, library);
  const inputs = bindInputs(plan, request.inputs as Record<string, Json | undefined>);
  if (!inputs.ok) throw refuse(inputs.violations);
  return executeGraph(
    plan,
    inputs.values,
    { signal, deadline: ctx.deadline },
    { calls: modelCalls(channels, ctx), limits: executionLimits, emit, now, random },
  );
}

/** Tells events as they come. When the reader leaves, the execution is cancelled and waited for. */
async function* streamExecute(
  request: ExecuteRequest,
  ctx: CallContext,
  deps: OrchestrationDeps,
): AsyncGenerator<StreamExecuteResponse> {
  const queue = new EventQueue<ExecutionEvent>(executionLimits.eventsQueuedMax);
  const left = new AbortController();
  const signal = AbortSignal.any([ctx.signal, left.signal]);
  const ended = execute(request, ctx, deps, { signal, emit: (event) => queue.push(event) }).then(
    async (response) => {
      await queue.push({ $case: 'completed', value: response });
      queue.end();
    },
    (error: unknown) => queue.end({ error }),
  );
  try {
    for await (const event of queue.read()) yield { event };
  } finally {
    queue.end();
    left.abort(new RpcError(status.CANCELLED, 'The reader has left.'));
    await ended;
  }
}

function planOf({ source }: ExecuteRequest, library: GraphLibrary): Plan {
  switch (source?.$case) {
    case 'graph':
      return found(source.value, library).plan;
    case 'inline': {
      const validated = validateGraph(source.value);
      if (validated.ok) return validated.plan;
      throw refuse(validated.violations.map((one) => ({ ...one, path: `inline.${one.path}` })));
    }
    case undefined:
      throw refuse([{ path: 'source', description: 'give a graph by name or inline' }]);
  }
}

function refuse(violations: readonly Violation[]): RpcError {
  return invalidArgument(violations.map(({ path, description }) => ({ field: path, description })));
}

function listGraphs(library: GraphLibrary): ListGraphsResponse {
  return {
    graphs: [...library.values()].map(({ graph: { name, description, inputs, outputs } }) => ({
      name,
      description,
      inputs,
      outputs: outputs.map((output) => output.name),
    })),
  };
}

function getGraph(name: string, library: GraphLibrary): GetGraphResponse {
  return { graph: found(name, library).graph };
}

function found(name: string, library: GraphLibrary) {
  const entry = library.get(name);
  if (entry) return entry;
  throw new RpcError(status.NOT_FOUND, `There is no graph ${name}.`, {
    errorInfo: { reason: 'GRAPH_NOT_FOUND', metadata: { graph: name } },
    resourceInfo: { resourceType: 'graph', resourceName: name },
  });
}
