import { commonConfig } from '@gatehouse/service-kit/main';
import { z } from 'zod';

/** The contract lets one call bring this many texts; a shorter queue could never take it. */
const inputsMax = 2048;

const modelConfig = z
  .strictObject({
    /** The name that callers ask for. */
    name: z.string().min(1).max(128),
    /** A BERT-like encoder as ONNX: input_ids, attention_mask, token_type_ids → last_hidden_state. */
    modelFile: z.string().min(1),
    /** The model's tokenizer.json. */
    tokenizerFile: z.string().min(1),
    /** Tokens of one text that the model takes, its special tokens included. */
    inputTokensMax: z.int().min(3).max(8192).default(256),
    /** Tokens of one batch, padding included. Larger batches compute no faster and let others wait longer. */
    batchTokensMax: z.int().min(3).max(65_536).default(512),
    /** How long an idle engine waits for company before it runs a batch that is not full, in milliseconds. */
    batchWaitMsMax: z.number().min(0).max(1000).default(2),
    /** Texts that may wait or be computed at a time, over all callers. */
    queueDepthMax: z.int().min(inputsMax).max(1_000_000).default(4096),
    /** Threads that compute. */
    threads: z.int().min(1).max(64).default(2),
  })
  .refine(({ inputTokensMax, batchTokensMax }) => inputTokensMax <= batchTokensMax, {
    path: ['batchTokensMax'],
    error: 'expected at least inputTokensMax, because a batch has to hold the longest text',
  });

/** The configuration of the embeddings service. */
export const embeddingsConfig = commonConfig.extend({
  models: z
    .array(modelConfig)
    .min(1)
    .max(16)
    .refine((models) => new Set(models.map(({ name }) => name)).size === models.length, {
      error: 'expected every model to have a name of its own',
    }),
});

export type ModelConfig = z.infer<typeof modelConfig>;
export type EmbeddingsConfig = z.infer<typeof embeddingsConfig>;
