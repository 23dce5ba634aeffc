import {
  type Chat,
  type ChatMessage,
  ChatRole,
  type Completion,
  type CountTokensRequest,
  FinishReason,
  type GenerateRequest,
  InferenceServiceService,
  type Model,
  ModelServiceService,
  Priority,
  type StreamGenerateResponse,
} from '@gatehouse/contracts/inference';
import {
  type CallContext,
  defineService,
  invalidArgument,
  RpcError,
  type Service,
} from '@gatehouse/service-kit';
import { status } from '@grpc/grpc-js';
import type {
  ChatTurn,
  Engine,
  GenerationEvent,
  GenerationInput,
  GenerationRequest,
  ModelInfo,
} from './engine/engine.ts';
import { GenerationRecorder } from './generation-recorder.ts';

/** GenerateRequest's documented defaults. */
const temperatureDefault = 0.7;
const topPDefault = 1;

export interface ServiceOptions {
  readonly engines: readonly Engine[];
  /** Milliseconds, for Timings and metrics. */
  readonly now: () => number;
  /** A random seed for calls that bring none: an integer from 0 to 2³²−1. */
  readonly randomSeed: () => number;
}

/** Answers gatehouse.inference.v1 with the given engines. */
export function inferenceServices(options: ServiceOptions): Service[] {
  const engines = new Map(options.engines.map((engine) => [engine.info.name, engine]));
  const generate = (request: GenerateRequest, ctx: CallContext) =>
    generation(engineFor(engines, request.model), request, ctx, options);
  return [
    defineService(InferenceServiceService, {
      async generate(request, ctx) {
        let text = '';
        let completion: Completion | undefined;
        for await (const { event } of generate(request, ctx)) {
          if (event?.$case === 'delta') text += event.value.text;
          if (event?.$case === 'completed') completion = event.value;
        }
        return { text, completion };
      },
      streamGenerate: generate,
      async countTokens(request, ctx) {
        const engine = engineFor(engines, request.model);
        return { inputTokens: await engine.countTokens(inputOf(request), ctx.signal) };
      },
    }),
    defineService(ModelServiceService, {
      listModels: async () => ({ models: options.engines.map(({ info }) => modelOf(info)) }),
      getModel: async ({ model }) => ({ model: modelOf(engineFor(engines, model).info) }),
    }),
  ];
}

async function* generation(
  engine: Engine,
  request: GenerateRequest,
  { signal }: CallContext,
  options: ServiceOptions,
): AsyncGenerator<StreamGenerateResponse, void, undefined> {
  const recorder = new GenerationRecorder(engine.info, request.input?.$case ?? 'prompt', options.now);
  try {
    for await (const event of engine.generate(engineRequest(request, engine.info, options), signal)) {
      recorder.record(event);
      yield { event: eventOf(event, engine.info, recorder) };
    }
  } catch (error) {
    recorder.fail(error);
    throw error;
  } finally {
    recorder.end();
  }
}

function eventOf(
  event: GenerationEvent,
  { name }: ModelInfo,
  recorder: GenerationRecorder,
): NonNullable<StreamGenerateResponse['event']> {
  switch (event.kind) {
    case 'started':
      return { $case: 'started', value: { model: name, inputTokens: event.inputTokens } };
    case 'delta':
      return { $case: 'delta', value: { text: event.text, outputTokens: event.outputTokens } };
    case 'completed':
      return {
        $case: 'completed',
        value: {
          finishReason: finishReasons[event.finishReason],
          usage: { inputTokens: event.inputTokens, outputTokens: event.outputTokens },
          timings: recorder.timings(),
          model: name,
        },
      };
  }
}

const finishReasons = {
  stop: FinishReason.FINISH_REASON_STOP,
  stop_sequence: FinishReason.FINISH_REASON_STOP_SEQUENCE,
  length: FinishReason.FINISH_REASON_LENGTH,
} as const;

function engineFor(engines: ReadonlyMap<string, Engine>, model: string): Engine {
  const engine = engines.get(model);
  if (engine) return engine;
  throw new RpcError(status.NOT_FOUND, 'There is no model of that name; ListModels says which there are.', {
    errorInfo: { reason: 'MODEL_UNKNOWN' },
    resourceInfo: { resourceType: 'gatehouse.inference.v1.Model', resourceName: model },
  });
}

function engineRequest(
  request: GenerateRequest,
  info: ModelInfo,
  options: ServiceOptions,
): GenerationRequest {
  if (request.jsonSchema !== '' && !info.supportsJsonSchema) {
    throw invalidArgument([{ field: 'json_schema', description: 'is not supported by this model' }]);
  }
  return {
    input: inputOf(request),
    maxTokens: request.maxTokens ?? info.outputTokensDefault,
    temperature: request.temperature ?? temperatureDefault,
    topP: request.topP ?? topPDefault,
    seed: request.seed ?? options.randomSeed(),
    stop: request.stop,
    jsonSchema: request.jsonSchema,
    priority:
      request.priority === Priority.PRIORITY_UNSPECIFIED ? Priority.PRIORITY_NORMAL : request.priority,
  };
}

function inputOf({ input }: GenerateRequest | CountTokensRequest): GenerationInput {
  if (input?.$case === 'chat') return { kind: 'chat', messages: turnsOf(input.value) };
  return { kind: 'prompt', text: input?.value ?? '' }; // The edge has refused a request without input.
}

function turnsOf({ messages }: Chat): ChatTurn[] {
  return messages.map(({ role, content }) => ({ role: roleOf(role), content }));
}

function roleOf(role: ChatMessage['role']): ChatTurn['role'] {
  switch (role) {
    case ChatRole.CHAT_ROLE_SYSTEM:
      return 'system';
    case ChatRole.CHAT_ROLE_ASSISTANT:
      return 'assistant';
    case ChatRole.CHAT_ROLE_USER:
    case ChatRole.CHAT_ROLE_UNSPECIFIED:
    case ChatRole.UNRECOGNIZED:
      return 'user'; // The edge has refused the last two.
  }
}

function modelOf(info: ModelInfo): Model {
  const { name, engine, contextTokensMax, outputTokensDefault, supportsJsonSchema } = info;
  return { name, engine, contextTokensMax, outputTokensDefault, supportsJsonSchema };
}
