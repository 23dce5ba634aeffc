import { z } from 'zod';

/** The part of a streamed chunk that is read; servers add fields of their own. Chat has `delta`, completions `text`. */
const chunkSchema = z.object({
  choices: z
    .array(
      z.object({
        delta: z.object({ content: z.string().nullish() }).nullish(),
        text: z.string().nullish(),
        finish_reason: z.string().nullish(),
        /** vLLM: the stop sequence that came up; a number is a stop token. */
        stop_reason: z.union([z.string(), z.number()]).nullish(),
      }),
    )
    .default([]),
  usage: z.object({ prompt_tokens: z.int().min(0), completion_tokens: z.int().min(0) }).nullish(),
});

type Chunk = z.infer<typeof chunkSchema>;

/** What one server-sent event holds. */
export type ChunkEvent =
  | { readonly kind: 'chunk'; readonly chunk: Chunk }
  | { readonly kind: 'done' }
  | { readonly kind: 'error' }
  | { readonly kind: 'malformed'; readonly what: string };

export function readChunk(data: string): ChunkEvent {
  if (data.trim() === '[DONE]') return { kind: 'done' };
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return { kind: 'malformed', what: 'an event that is not JSON' };
  }
  if (typeof value === 'object' && value !== null && 'error' in value) return { kind: 'error' };
  const parsed = chunkSchema.safeParse(value);
  return parsed.success
    ? { kind: 'chunk', chunk: parsed.data }
    : { kind: 'malformed', what: 'an event that is no completion chunk' };
}
