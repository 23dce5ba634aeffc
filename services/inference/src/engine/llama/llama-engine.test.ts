import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RpcError } from '@gatehouse/service-kit';
import { StartFailure } from '@gatehouse/service-kit/main';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { llamaConfig, modelFile } from '../../../test/model-file.ts';
import type { LlamaConfig } from '../../config.ts';
import type { GenerationEvent, GenerationRequest } from '../engine.ts';
import { LlamaEngine } from './llama-engine.ts';

const never = new AbortController().signal;
const open = (config: Partial<LlamaConfig> = {}) =>
  LlamaEngine.open(
    { ...llamaConfig, ...config },
    { now: () => performance.now(), onReadiness: () => undefined },
  );

let engine: LlamaEngine;
beforeAll(async () => {
  engine = await open();
});
afterAll(() => engine?.close());

function request(more: Partial<GenerationRequest> = {}): GenerationRequest {
  const messages = [{ role: 'user', content: 'Tell me a story about the sea.' }] as const;
  return {
    input: { kind: 'chat', messages },
    maxTokens: 16,
    temperature: 0.7,
    topP: 1,
    seed: 7,
    stop: [],
    jsonSchema: '',
    priority: 2,
    ...more,
  };
}

async function run(more: Partial<GenerationRequest> = {}, signal = never) {
  const events: GenerationEvent[] = [];
  for await (const event of engine.generate(request(more), signal)) events.push(event);
  const deltas = events.filter((event) => event.kind === 'delta');
  const completed = events.at(-1);
  if (completed?.kind !== 'completed') throw new Error(`ended with ${completed?.kind}`);
  return { events, deltas, text: deltas.map(({ text }) => text).join(''), completed };
}

test('streams token by token, with exact and cumulative counts', async () => {
  const { events, deltas, completed } = await run();
  const inputTokens = await engine.countTokens(request().input, never);
  expect(events[0]).toEqual({ kind: 'started', inputTokens });
  const counts = deltas.map(({ outputTokens }) => outputTokens);
  expect(counts).toEqual([...new Set(counts)].sort((a, b) => a - b));
  expect(counts.length).toBeGreaterThan(8); // One token each, but for those within a character.
  expect(completed).toEqual({ kind: 'completed', finishReason: 'length', inputTokens, outputTokens: 16 });
});

test('counts what it evaluates, no more and no less', async () => {
  const before = await engine.stats();
  const { completed } = await run();
  const after = await engine.stats();
  // The last token is sampled but never evaluated.
  expect(after.evaluatedTokens - before.evaluatedTokens).toBe(
    completed.inputTokens + completed.outputTokens - 1,
  );
});

test('gives the same text for the same seed, alone and in company, and another for another', async () => {
  const [alone] = [await run()];
  const [again, other] = await Promise.all([run(), run({ seed: 8 })]);
  expect(again.text).toBe(alone.text);
  expect(other.text).not.toBe(alone.text);
});

test('takes the likeliest token at temperature 0, whatever the seed', async () => {
  expect((await run({ temperature: 0, seed: 1 })).text).toBe((await run({ temperature: 0, seed: 2 })).text);
});

test('ends before a stop sequence that spans tokens, and lets nothing of it out', async () => {
  const { text } = await run({ maxTokens: 24 });
  const stop = text.slice(20, 28);
  const stopped = await run({ maxTokens: 24, stop: [stop] });
  expect(stopped.completed.finishReason).toBe('stop_sequence');
  expect(stopped.text).toBe(text.slice(0, text.indexOf(stop)));
});

test('constrains output to a JSON schema while it is generated', async () => {
  const schema = {
    type: 'object',
    properties: {
      name: { type: 'string', maxLength: 12 },
      age: { type: 'integer' },
      tags: { type: 'array', items: { enum: ['salt', 'wind'] }, minItems: 2, maxItems: 2 },
    },
    required: ['name', 'age', 'tags'],
  };
  const { text, completed } = await run({
    jsonSchema: JSON.stringify(schema),
    maxTokens: 120,
    temperature: 1,
  });
  expect(completed.finishReason).toBe('stop');
  expect(JSON.parse(text)).toEqual({
    name: expect.any(String) as string,
    age: expect.toSatisfy(Number.isInteger) as number,
    tags: [expect.stringMatching(/^(salt|wind)$/), expect.stringMatching(/^(salt|wind)$/)],
  });
});

test('never splits a character of several bytes between deltas', async () => {
  const value = '日本語 🌊🐋 ünï';
  const { text, deltas } = await run({ jsonSchema: JSON.stringify({ const: value }), maxTokens: 80 });
  expect(JSON.parse(text)).toBe(value);
  expect(deltas.filter((delta) => delta.text.includes('\uFFFD') || !delta.text.isWellFormed())).toEqual([]);
  expect(deltas.length).toBeGreaterThan(5);
});

test('a control token in a message stays text and cannot end the message', async () => {
  const count = (content: string) =>
    engine.countTokens({ kind: 'chat', messages: [{ role: 'user', content }] }, never);
  expect((await count('<|im_end|>')) - (await count('x'))).toBeGreaterThan(2);
});

test('an aborted call evaluates no further token, and its place is free', async () => {
  const before = await engine.stats();
  const abort = new AbortController();
  let inputTokens = 0;
  let seen = 0;
  const read = async () => {
    for await (const event of engine.generate(request({ maxTokens: 200 }), abort.signal)) {
      if (event.kind === 'started') inputTokens = event.inputTokens;
      if (event.kind === 'delta') seen = event.outputTokens;
      if (seen === 5) abort.abort(new Error('hung up'));
    }
  };
  await expect(read()).rejects.toThrow('hung up');
  const after = await engine.stats();
  expect(seen).toBe(5);
  expect(after.sequencesFree).toBe(llamaConfig.sequencesMax);
  // One step may have been under way, and one may have begun while the abort travelled.
  expect(after.evaluatedTokens - before.evaluatedTokens - inputTokens).toBeLessThanOrEqual(seen + 1);
});

test('a long input that is aborted stops after the batch under way', async () => {
  const before = await engine.stats();
  const abort = new AbortController();
  const input = { kind: 'prompt', text: 'sea '.repeat(230) } as const;
  const generation = engine.generate(request({ input }), abort.signal);
  expect(await generation.next()).toMatchObject({ value: { kind: 'started', inputTokens: 231 } });
  abort.abort(new Error('hung up'));
  await expect(generation.next()).rejects.toThrow('hung up');
  const after = await engine.stats();
  expect(after.evaluatedTokens - before.evaluatedTokens).toBeLessThanOrEqual(2 * llamaConfig.batchTokensMax);
  expect(after.sequencesFree).toBe(llamaConfig.sequencesMax);
});

test('leaving the stream frees the place as well', async () => {
  for await (const event of engine.generate(request({ maxTokens: 200 }), never))
    if (event.kind === 'delta') break;
  expect((await engine.stats()).sequencesFree).toBe(llamaConfig.sequencesMax);
});

test('runs as many as it has sequences, queues a few, and refuses the rest', async () => {
  const { sequencesMax, queueDepthMax } = llamaConfig;
  const calls = Array.from({ length: sequencesMax + queueDepthMax + 2 }, () => run({ maxTokens: 8 }));
  const outcomes = await Promise.allSettled(calls);
  const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
  expect(refused.map(({ reason }) => (reason as RpcError).code)).toEqual([
    status.RESOURCE_EXHAUSTED,
    status.RESOURCE_EXHAUSTED,
  ]);
  expect((await engine.stats()).sequencesFree).toBe(sequencesMax);
});

test('refuses an input that leaves no room, and ends at the end of the context', async () => {
  const tooLong = run({ input: { kind: 'prompt', text: 'sea '.repeat(300) } });
  await expect(tooLong).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: {
      badRequest: [{ field: 'prompt', description: expect.stringContaining('301 tokens') as string }],
    },
  });
  const input = { kind: 'prompt', text: 'one two three four five six seven '.repeat(34) } as const;
  const { completed } = await run({ input, maxTokens: 100_000 });
  expect(completed.finishReason).toBe('length');
  expect(completed.inputTokens + completed.outputTokens).toBe(llamaConfig.contextTokensMax);
});

test('refuses a JSON schema that it cannot enforce, and names the field', async () => {
  await expect(run({ jsonSchema: '{"type":"string","pattern":"a"}' })).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: { badRequest: [{ field: 'json_schema' }] },
  });
});

test('a crash of the engine ends its calls with UNAVAILABLE, and it comes back', async () => {
  const readiness: boolean[] = [];
  engine.onReadiness((ready) => readiness.push(ready));
  const generation = engine.generate(request({ maxTokens: 200 }), never);
  await generation.next();
  process.kill(Number(engine.pid), 'SIGKILL');
  const rest = async () => {
    for await (const _ of generation) continue;
  };
  await expect(rest()).rejects.toMatchObject({
    code: status.UNAVAILABLE,
    details: { errorInfo: { reason: 'ENGINE_RESTARTING' } },
  });
  await vi.waitFor(() => expect(readiness).toEqual([false, true]), { timeout: 20_000 });
  expect((await run({ maxTokens: 4 })).completed.outputTokens).toBe(4);
});

test('says in one sentence why a model file cannot be opened', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'inf-'));
  try {
    const none = join(folder, 'none.gguf');
    const text = join(folder, 'text.gguf');
    const cut = join(folder, 'cut.gguf');
    await writeFile(text, 'once upon a time');
    await writeFile(cut, (await readFile(modelFile)).subarray(0, 4_000_000));
    const failure = (file: string) => open({ modelFile: file }).catch((error: unknown) => error);
    for (const [file, why] of [
      [none, 'there is no such file'],
      [text, 'it is not a GGUF file'],
      [cut, 'Failed to load model'],
    ] as const) {
      const error = await failure(file);
      expect(error).toBeInstanceOf(StartFailure);
      expect((error as Error).message).toBe(`cannot open model ${llamaConfig.name} from ${file}: ${why}`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
