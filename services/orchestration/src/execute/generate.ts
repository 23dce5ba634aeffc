import { ChatRole, FinishReason, type GenerateRequest } from '@gatehouse/contracts/inference';
import { RpcError } from '@gatehouse/service-kit';
import { status } from '@grpc/grpc-js';
import type { GenerateAction } from '../graph/plan.ts';
import type { Json } from '../graph/types.ts';
import type { Attempt } from './attempt.ts';
import { answerBroken, limitReached } from './failures.ts';
import { type Scope, textOf } from './scope.ts';

/** Calls the inference service. Every piece of text is told as it comes. Gives the text, or the value it spells. */
export async function generate(action: GenerateAction, scope: Scope, attempt: Attempt): Promise<Json> {
  const { execution, run } = attempt;
  const request = requestFor(action, scope, attempt);
  const { nodeOutputBytesMax } = execution.limits;
  let text = '';
  let bytes = 0;
  let finish: FinishReason | undefined;
  const used = { inputTokens: 0, outputTokens: 0 };
  const count = (inputTokens: number, outputTokens: number): void => {
    execution.usage.inputTokens += inputTokens - used.inputTokens;
    execution.usage.outputTokens += outputTokens - used.outputTokens;
    Object.assign(used, { inputTokens, outputTokens });
  };
  for await (const { event } of execution.calls.generate(request, run)) {
    switch (event?.$case) {
      case 'started':
        count(event.value.inputTokens, used.outputTokens);
        break;
      case 'delta':
        count(used.inputTokens, event.value.outputTokens);
        text += event.value.text;
        bytes += Buffer.byteLength(event.value.text);
        if (bytes > nodeOutputBytesMax) {
          throw limitReached(
            'nodeOutputBytesMax',
            nodeOutputBytesMax,
            `A node answered with more than ${nodeOutputBytesMax} bytes.`,
          );
        }
        await attempt.tellDelta(event.value.text);
        break;
      case 'completed':
        finish = event.value.finishReason;
        if (event.value.usage) count(event.value.usage.inputTokens, event.value.usage.outputTokens);
        break;
      case undefined:
        break; // An event of a newer contract.
    }
  }
  if (finish === undefined) throw answerBroken('The generation stopped without saying how it ended.');
  return action.schema ? parseOutput(text, finish) : text;
}

function requestFor(action: GenerateAction, scope: Scope, { execution, model }: Attempt): GenerateRequest {
  const { textBytesMax } = execution.limits;
  const system = action.system && textOf(action.system, scope, textBytesMax);
  const user = textOf(action.prompt, scope, textBytesMax);
  return {
    model,
    input: {
      $case: 'chat',
      value: {
        messages: [
          ...(system === undefined || system === ''
            ? []
            : [{ role: ChatRole.CHAT_ROLE_SYSTEM, content: system }]),
          { role: ChatRole.CHAT_ROLE_USER, content: user },
        ],
      },
    },
    maxTokens: action.maxTokens,
    temperature: action.temperature,
    topP: undefined,
    seed: action.seed,
    stop: [...action.stop],
    jsonSchema: action.schema?.text ?? '',
    priority: 0,
  };
}

function parseOutput(text: string, finish: FinishReason): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    const cut = finish === FinishReason.FINISH_REASON_LENGTH;
    throw new RpcError(
      status.FAILED_PRECONDITION,
      cut ? 'The JSON was cut off by max_tokens.' : 'The model answered with text that is not JSON.',
      { errorInfo: { reason: cut ? 'OUTPUT_CUT' : 'OUTPUT_NOT_JSON' } },
    );
  }
}
