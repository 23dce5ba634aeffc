import { commonConfig } from '@gatehouse/service-kit/main';
import { z } from 'zod';

const commonModel = {
  /** What callers name in GenerateRequest.model. */
  name: z.string().min(1).max(128),
  /** Tokens of input and output together that fit in one call. */
  contextTokensMax: z.int().min(64).max(131_072).default(2048),
  /** GenerateRequest.max_tokens where the caller gives none. */
  outputTokensDefault: z.int().min(1).max(131_072).default(256),
  /** Calls that may wait for the engine; the next is refused with RESOURCE_EXHAUSTED. */
  queueDepthMax: z.int().min(0).max(10_000).default(64),
};

const llamaModel = z.strictObject({
  ...commonModel,
  engine: z.literal('llama.cpp'),
  /** A GGUF file. */
  modelFile: z.string().min(1),
  /** Calls generated at a time, in one batch. Each takes the memory of contextTokensMax cells of the KV cache. */
  sequencesMax: z.int().min(1).max(64).default(8),
  /** Tokens evaluated in one step, prompts included: a cancelled prompt stops within it. */
  batchTokensMax: z.int().min(8).max(2048).default(128),
  /**
   * Threads that compute. Default: half the cores, because llama.cpp's threads spin while they wait for each other,
   * and a core that another process needs stalls all of them.
   */
  threadsMax: z.int().min(1).max(256).optional(),
  /** How the context is kept. q8_0 takes half the memory of f16, at the same speed on the CPUs that were measured. */
  kvCacheType: z.enum(['f16', 'q8_0']).default('q8_0'),
});

const openAiModel = z.strictObject({
  ...commonModel,
  engine: z.literal('openai'),
  /** The API's root, such as http://127.0.0.1:8000/v1. */
  baseUrl: z.url({ protocol: /^https?$/ }),
  /** The model's name at the upstream. Default: its name here. */
  upstreamModel: z.string().min(1).optional(),
  /** Calls that may be open at the upstream at a time. */
  requestsMax: z.int().min(1).max(10_000).default(64),
  /** Whether the upstream enforces `response_format: json_schema`. */
  supportsJsonSchema: z.boolean().default(false),
});

export const inferenceConfig = commonConfig.extend({
  models: z
    .array(z.discriminatedUnion('engine', [llamaModel, openAiModel]))
    .min(1)
    .max(64)
    .refine((models) => new Set(models.map(({ name }) => name)).size === models.length, {
      error: 'expected every model to have a name of its own',
    }),
});

export type InferenceConfig = z.infer<typeof inferenceConfig>;
export type ModelConfig = InferenceConfig['models'][number];
export type LlamaConfig = z.infer<typeof llamaModel>;
export type OpenAiConfig = z.infer<typeof openAiModel>;
