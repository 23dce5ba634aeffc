import { StreamEmbedRequest } from '@gatehouse/contracts/embeddings';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { collect, cosine, embed, refusalOf, vectorsOf } from '../test/calls.ts';
import { MODEL } from '../test/model-files.ts';
import { type RunningService, startEmbeddings } from '../test/running-service.ts';

let service: RunningService;
beforeAll(async () => {
  service = await startEmbeddings();
});
afterAll(() => service.stop());

const item = (fields: Partial<StreamEmbedRequest>) =>
  StreamEmbedRequest.fromPartial({ id: 'a', input: 'text', ...fields });

/** Sends every item, half-closes, and gives the answers by id. */
async function streamAll(items: readonly StreamEmbedRequest[]) {
  const stream = service.client.streamEmbed();
  const answers = collect(stream as never);
  for (const each of items) stream.write(each);
  stream.end();
  return answers;
}

test('answers every item by its id, with the vector that Embed gives', async () => {
  const items = Array.from({ length: 200 }, (_, at) =>
    item({ id: `item-${at}`, input: `Payment ${at} was late.`, model: at === 0 ? MODEL : '' }),
  );
  const answers = await streamAll(items);
  expect(new Set(answers.map(({ id }) => id))).toEqual(new Set(items.map(({ id }) => id)));
  const [expected] = vectorsOf(await embed(service, ['Payment 17 was late.']));
  const answer = answers.find(({ id }) => id === 'item-17');
  const vector = answer?.result?.$case === 'embedding' ? answer.result.value.vector : undefined;
  expect(cosine(vector?.$case === 'float32' ? vector.value.values : [], expected!)).toBeGreaterThan(0.99999);
});

test('counts the input tokens of the stream so far', async () => {
  const answers = await streamAll([item({ model: MODEL, input: 'hello' }), item({ input: 'hello world' })]);
  expect(answers.at(-1)?.inputTokens).toBe(7);
});

test('answers a failed item with its own status and goes on with the others', async () => {
  const answers = await streamAll([
    item({ id: 'fine', model: MODEL }),
    item({ id: 'long', input: 'word '.repeat(400) }),
    item({ id: 'elsewhere', model: 'another' }),
    item({ id: 'also fine', model: MODEL }),
  ]);
  const byId = new Map(answers.map(({ id, result }) => [id, result]));
  expect(byId.get('fine')?.$case).toBe('embedding');
  expect(byId.get('also fine')?.$case).toBe('embedding');
  for (const id of ['long', 'elsewhere']) {
    const result = byId.get(id);
    if (result?.$case !== 'error') throw new Error(`expected ${id} to fail`);
    expect(result.value.code).toBe(status.INVALID_ARGUMENT);
    expect(result.value.details.map(({ typeUrl }) => typeUrl)).toContain(
      'type.googleapis.com/google.rpc.BadRequest',
    );
  }
});

test('refuses a stream whose first message names no model, or one that is not there', async () => {
  const unnamed = await refusalOf(streamAll([item({})]));
  expect(unnamed.code).toBe(status.INVALID_ARGUMENT);
  expect(unnamed.details.badRequest?.[0]?.field).toBe('model');
  expect((await refusalOf(streamAll([item({ model: 'another' })]))).code).toBe(status.NOT_FOUND);
});

test('ends well without any message', async () => {
  expect(await streamAll([])).toEqual([]);
});

test('answers an item while the stream stays open', async () => {
  const stream = service.client.streamEmbed();
  const first = new Promise<{ id: string }>((resolve) => stream.once('data', resolve));
  stream.write(item({ id: 'now', model: MODEL }));
  expect((await first).id).toBe('now');
  const rest = collect(stream as never);
  stream.end();
  expect(await rest).toEqual([]);
});

test('stops when the caller cancels and serves the next caller', async () => {
  const stream = service.client.streamEmbed();
  const ended = refusalOf(collect(stream as never));
  for (let at = 0; at < 500; at += 1) stream.write(item({ id: `${at}`, model: MODEL }));
  await new Promise((resolve) => stream.once('data', resolve));
  stream.cancel();
  expect((await ended).code).toBe(status.CANCELLED);
  expect((await streamAll([item({ model: MODEL })])).at(0)?.result?.$case).toBe('embedding');
});
