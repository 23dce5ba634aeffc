import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type LlamaServer, startLlamaServer } from '../../../test/llama-server.ts';
import type { GenerationEvent, GenerationRequest } from '../engine.ts';
import { OpenAiEngine } from './openai-engine.ts';

const never = new AbortController().signal;
let server: LlamaServer | string;
let engine: OpenAiEngine;

beforeAll(async () => {
  server = await startLlamaServer();
  if (typeof server === 'string') return;
  const limits = { contextTokensMax: 256, outputTokensDefault: 16, queueDepthMax: 4, requestsMax: 2 };
  engine = new OpenAiEngine(
    { name: 'm', engine: 'openai', baseUrl: server.baseUrl, supportsJsonSchema: true, ...limits },
    { now: Date.now },
  );
}, 180_000);
afterAll(async () => {
  if (typeof server !== 'string') await server?.stop();
});
beforeEach((context) => {
  if (typeof server === 'string') context.skip(server); // Not run, with the reason; never as passed.
});

function request(more: Partial<GenerationRequest> = {}): GenerationRequest {
  const input = { kind: 'chat', messages: [{ role: 'user', content: 'What is the sea?' }] } as const;
  return {
    input,
    maxTokens: 12,
    temperature: 0,
    topP: 1,
    seed: 1,
    stop: [],
    jsonSchema: '',
    priority: 2,
    ...more,
  };
}

async function collect(more: Partial<GenerationRequest> = {}) {
  const events: GenerationEvent[] = [];
  for await (const event of engine.generate(request(more), never)) events.push(event);
  const text = events.map((event) => (event.kind === 'delta' ? event.text : '')).join('');
  return { events, text, completed: events.at(-1) };
}

test("streams from llama.cpp's server, with its counts", async () => {
  const { events, text, completed } = await collect();
  expect(events.filter(({ kind }) => kind === 'delta').length).toBeGreaterThan(4);
  expect(text.length).toBeGreaterThan(10);
  const inputTokens = await engine.countTokens(request().input, never);
  expect(completed).toEqual({ kind: 'completed', finishReason: 'length', inputTokens, outputTokens: 12 });
});

test('has a raw prompt continued and a schema enforced by it', async () => {
  const input = { kind: 'prompt', text: 'One, two, three,' } as const;
  expect((await collect({ input })).completed).toMatchObject({ kind: 'completed', outputTokens: 12 });
  expect(await engine.countTokens(input, never)).toBeGreaterThan(4);
  const schema = JSON.stringify({ type: 'object', properties: { a: { enum: ['x', 'y'] } }, required: ['a'] });
  const { text } = await collect({ jsonSchema: schema, maxTokens: 60 });
  expect(JSON.parse(text)).toEqual({ a: expect.stringMatching(/^[xy]$/) as string });
});
