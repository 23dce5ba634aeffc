import type { ExecuteResponse, NodeEnded } from '@gatehouse/contracts/orchestration';
import type { Plan } from '../graph/plan.ts';
import type { Json } from '../graph/types.ts';
import { Execution, type ExecutionOptions, jsonBytes } from './execution.ts';
import { limitReached } from './failures.ts';
import type { CallBounds } from './model-calls.ts';
import { runNodes } from './run-node.ts';
import { type Scope, valueOf } from './scope.ts';

/** Outputs may nest as deep as inputs, which the decoder bounds, inside what nodes put around them. */
const outputsDepthMax = 128;

/**
 * Executes a plan and answers once it has ended; what happens on the way goes to `emit`.
 * @throws NodeFailed with the details of the node that failed first, or what the bounds' signal was aborted with
 */
export async function executeGraph(
  plan: Plan,
  inputs: ReadonlyMap<string, Json>,
  bounds: CallBounds,
  options: ExecutionOptions,
): Promise<ExecuteResponse> {
  const nodes: NodeEnded[] = [];
  const execution = new Execution({
    ...options,
    emit: async (event) => {
      if (event.$case === 'nodeEnded') nodes.push(event.value);
      await options.emit(event);
    },
  });
  const scope: Scope = { inputs, outputs: new Map(), outer: undefined, item: undefined };
  await runNodes(plan.nodes, scope, { execution, bounds, prefix: '' });
  return { outputs: outputsOf(plan, scope, execution), usage: { ...execution.usage }, nodes };
}

function outputsOf(plan: Plan, scope: Scope, { limits }: Execution): Record<string, Json> {
  const outputs: Record<string, Json> = {};
  let bytes = 0;
  for (const { name, value } of plan.outputs) {
    const output = valueOf(value, scope, limits.textBytesMax);
    bytes += jsonBytes(output, outputsDepthMax);
    if (bytes > limits.outputsBytesMax) {
      throw limitReached(
        'outputsBytesMax',
        limits.outputsBytesMax,
        `The outputs have more than ${limits.outputsBytesMax} bytes.`,
      );
    }
    outputs[name] = output;
  }
  return outputs;
}
