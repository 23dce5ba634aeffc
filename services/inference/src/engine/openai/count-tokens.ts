import { z } from 'zod';
import type { OpenAiConfig } from '../../config.ts';
import type { GenerationInput } from '../engine.ts';

/** vLLM answers with a count, llama-server with the tokens. */
const counted = z.union([
  z.object({ count: z.int().min(0) }).transform(({ count }) => count),
  z.object({ tokens: z.array(z.unknown()) }).transform(({ tokens }) => tokens.length),
]);
const applied = z.object({ prompt: z.string() });

/**
 * Asks the server's tokenizer, which is no part of OpenAI's API: `/tokenize` of vLLM and llama-server, beside `/v1`.
 * @returns undefined where the server has none
 * @throws what fetch throws
 */
export async function countTokens(
  config: OpenAiConfig,
  input: GenerationInput,
  signal: AbortSignal,
): Promise<number | undefined> {
  const root = config.baseUrl.replace(/\/v1\/?$/, '').replace(/\/$/, '');
  const model = config.upstreamModel ?? config.name;
  const ask = (path: string, body: Record<string, unknown>) => post(`${root}/${path}`, body, signal);
  const countText = async (text: string) =>
    // Each server reads its own name of the text and ignores the other.
    counted.safeParse(await ask('tokenize', { model, prompt: text, content: text, add_special: true })).data;
  if (input.kind === 'prompt') return await countText(input.text);
  // llama-server makes the chat into text first; vLLM has no such path and takes the chat itself.
  const asText = applied.safeParse(await ask('apply-template', { messages: input.messages }));
  if (asText.success) return await countText(asText.data.prompt);
  return counted.safeParse(await ask('tokenize', { model, messages: input.messages })).data;
}

/** Undefined where there is no such path, or no JSON in the answer. */
async function post(url: string, body: Record<string, unknown>, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal,
  });
  const text = await response.text();
  if (!response.ok) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
