import { readdir, readFile } from 'node:fs/promises';
import {
  FinishReason,
  type GenerateRequest,
  InferenceServiceService,
  ModelServiceService,
} from '@gatehouse/contracts/inference';
import { type EgressChannel, egressChannel } from '@gatehouse/service-kit';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type InferenceProcess, startInference } from '../test/inference-process.ts';
import { llamaConfig, modelName } from '../test/model-file.ts';

const { generate, streamGenerate, countTokens } = InferenceServiceService;
const { listModels, getModel } = ModelServiceService;

let service: InferenceProcess;
let channel: EgressChannel;
beforeAll(async () => {
  service = await startInference({
    models: [
      llamaConfig,
      { name: 'elsewhere', engine: 'openai', baseUrl: 'http://127.0.0.1:1/v1', contextTokensMax: 128 },
    ],
  });
  channel = egressChannel({ address: service.address, authority: 'inference' });
});
afterAll(async () => {
  channel?.close();
  await service?.end('SIGKILL');
});

function request(more: Partial<GenerateRequest> = {}): GenerateRequest {
  const messages = [{ role: 2 as const, content: 'What is the sea, my secret friend?' }];
  return {
    model: modelName,
    input: { $case: 'chat', value: { messages } },
    maxTokens: 8,
    seed: 3,
    stop: [],
    jsonSchema: '',
    priority: 0,
    ...more,
  } as GenerateRequest;
}

test('lists its models and describes each', async () => {
  const { models } = await channel.unary(listModels, {});
  expect(models.map(({ name, engine }) => [name, engine])).toEqual([
    [modelName, 'llama.cpp'],
    ['elsewhere', 'openai'],
  ]);
  expect((await channel.unary(getModel, { model: 'elsewhere' })).model).toMatchObject({
    contextTokensMax: 128,
    supportsJsonSchema: false,
  });
  await expect(channel.unary(getModel, { model: 'none' })).rejects.toMatchObject({
    code: status.NOT_FOUND,
    details: { resourceInfo: { resourceName: 'none' } },
  });
});

test('streams started, deltas and completed; the whole answer is the same', async () => {
  const events = [];
  for await (const { event } of channel.serverStream(streamGenerate, request())) events.push(event);
  const { inputTokens } = await channel.unary(countTokens, request());
  expect(events[0]).toEqual({ $case: 'started', value: { model: modelName, inputTokens } });
  const text = events.map((event) => (event?.$case === 'delta' ? event.value.text : '')).join('');
  const usage = { inputTokens, outputTokens: 8 };
  const completed = { finishReason: FinishReason.FINISH_REASON_LENGTH, usage, model: modelName };
  expect(events.at(-1)).toMatchObject({ $case: 'completed', value: completed });

  const whole = await channel.unary(generate, request());
  expect(whole).toMatchObject({ text, completion: completed });
  const { queue, timeToFirstToken, total } = whole.completion?.timings ?? {};
  const nanos = [queue, timeToFirstToken, total].map(
    (time) => Number(time?.seconds) * 1e9 + Number(time?.nanos),
  );
  expect(nanos).toEqual([...nanos].sort((a, b) => a - b));
});

test('refuses a schema for a model whose upstream cannot enforce it', async () => {
  const call = channel.unary(generate, request({ model: 'elsewhere', jsonSchema: '{"type":"null"}' }));
  await expect(call).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: { badRequest: [{ field: 'json_schema' }] },
  });
});

test('a deadline ends a generation', async () => {
  const call = channel.unary(generate, request({ maxTokens: 200 }), { deadline: Date.now() + 300 });
  await expect(call).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
});

test('finishes what is in flight on SIGTERM, exits with 0, and leaves no engine behind and no content in its log', async () => {
  const engines = await childrenOf(service.pid);
  expect(engines).toHaveLength(1);
  const stream = channel.serverStream(streamGenerate, request({ maxTokens: 40 }));
  await stream.next();
  const exitCode = service.end('SIGTERM');
  const kinds = [];
  for await (const { event } of stream) kinds.push(event?.$case);
  expect(kinds.at(-1)).toBe('completed');
  expect(await exitCode).toBe(0);
  expect(await Promise.all(engines.map(isRunning))).toEqual([false]);
  expect(service.lines.join()).not.toContain('secret');
});

async function childrenOf(pid: number): Promise<number[]> {
  const tasks = await readdir(`/proc/${pid}/task`);
  const lists = await Promise.all(
    tasks.map((task) => readFile(`/proc/${pid}/task/${task}/children`, 'utf8')),
  );
  return lists.flatMap((list) => list.trim().split(/\s+/).filter(Boolean).map(Number));
}

async function isRunning(pid: number): Promise<boolean> {
  const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return state !== undefined && !state.includes(') Z ');
}
