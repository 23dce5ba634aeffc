import { Encoding, Truncation } from '@gatehouse/contracts/embeddings';
import { Metadata, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cosine, embed, refusalOf, vectorsOf } from '../test/calls.ts';
import { MODEL } from '../test/model-files.ts';
import { type RunningService, startEmbeddings } from '../test/running-service.ts';

let service: RunningService;
beforeAll(async () => {
  service = await startEmbeddings();
});
afterAll(() => service.stop());

const short = 'The settlement file arrives every morning at six.';
const long = Array.from({ length: 300 }, (_, at) => `word${at % 7}`).join(' ');

describe('Embed', () => {
  test('orders sentence pairs by how near their meanings are', async () => {
    const pairs = [
      ['A man is playing a guitar on stage.', 'A musician performs with his guitar.'],
      ['A man is playing a guitar on stage.', 'A woman listens to music at home.'],
      ['A man is playing a guitar on stage.', 'The central bank raised interest rates.'],
    ];
    const similarities = await Promise.all(
      pairs.map(async (pair) => {
        const [a, b] = vectorsOf(await embed(service, pair));
        return cosine(a!, b!);
      }),
    );
    expect(similarities[0]).toBeGreaterThan(0.6);
    expect(similarities[0]).toBeGreaterThan(similarities[1]! + 0.2);
    expect(similarities[1]).toBeGreaterThan(similarities[2]! + 0.1);
    expect(similarities[2]).toBeLessThan(0.15);
  });

  test('gives a text the same vector alone and among texts of other lengths', async () => {
    const texts = Array.from(
      { length: 24 },
      (_, at) => `${short} ${'Then it is checked again. '.repeat(at)}`,
    );
    const together = vectorsOf(await embed(service, texts));
    for (const at of [0, 7, 23]) {
      const [alone] = vectorsOf(await embed(service, [texts[at]!]));
      expect(cosine(alone!, together[at]!)).toBeGreaterThan(0.99999);
    }
  });

  test('counts the tokens that the model sees, special tokens included', async () => {
    const { embeddings, inputTokens, model } = await embed(service, ['hello', 'hello world']);
    expect(embeddings.map((embedding) => embedding.inputTokens)).toEqual([3, 4]);
    expect(inputTokens).toBe(7);
    expect(model).toBe('all-minilm-l6-v2');
  });

  test('scales vectors to length 1 unless asked not to', async () => {
    const lengthOf = (vector: number[]) => Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
    const [scaled] = vectorsOf(await embed(service, [short]));
    const [raw] = vectorsOf(await embed(service, [short], { normalize: false }));
    expect(lengthOf(scaled!)).toBeCloseTo(1, 5);
    expect(Math.abs(lengthOf(raw!) - 1)).toBeGreaterThan(0.01);
    expect(cosine(scaled!, raw!)).toBeGreaterThan(0.99999);
  });

  test('packs a vector into one byte per dimension that stays on the same direction', async () => {
    const { embeddings } = await embed(service, [short], { encoding: Encoding.ENCODING_INT8 });
    const [float] = vectorsOf(await embed(service, [short]));
    const vector = embeddings[0]?.vector;
    if (vector?.$case !== 'int8') throw new Error('expected an int8 vector');
    const values = [...new Int8Array(vector.value.values)].map((value) => value * vector.value.scale);
    expect(values).toHaveLength(384);
    expect(cosine(values, float!)).toBeGreaterThan(0.999);
  });

  test('refuses texts that are too long and names each of them', async () => {
    const error = await refusalOf(embed(service, [long, short, long]));
    expect(error.code).toBe(status.INVALID_ARGUMENT);
    expect(error.details.badRequest?.map(({ field }) => field)).toEqual(['inputs[0]', 'inputs[2]']);
    expect(error.details.badRequest?.[0]?.description).toMatch(/^has \d+ tokens, at most 256/);
  });

  test('cuts the end or the start off, says so, and counts what is left', async () => {
    for (const truncation of [Truncation.TRUNCATION_END, Truncation.TRUNCATION_START]) {
      const { embeddings } = await embed(service, [long, short], { truncation });
      expect(embeddings.map(({ truncated }) => truncated)).toEqual([true, false]);
      expect(embeddings[0]?.inputTokens).toBe(256);
    }
    const ends = `${'alpha '.repeat(254)}${'omega '.repeat(254)}`;
    const [alpha, omega] = vectorsOf(await embed(service, ['alpha '.repeat(254), 'omega '.repeat(254)]));
    const [end] = vectorsOf(await embed(service, [ends], { truncation: Truncation.TRUNCATION_END }));
    const [start] = vectorsOf(await embed(service, [ends], { truncation: Truncation.TRUNCATION_START }));
    expect(cosine(end!, alpha!)).toBeGreaterThan(0.99999);
    expect(cosine(start!, omega!)).toBeGreaterThan(0.99999);
  });

  test('refuses an empty list, an empty text and a model that is not there', async () => {
    expect((await refusalOf(embed(service, []))).code).toBe(status.INVALID_ARGUMENT);
    const empty = await refusalOf(embed(service, [short, '']));
    expect(empty.details.badRequest?.[0]?.field).toBe('inputs[1]');
    const unknown = await refusalOf(embed(service, [short], {}, 'another'));
    expect(unknown.code).toBe(status.NOT_FOUND);
    expect(unknown.details.resourceInfo?.resourceName).toBe('another');
  });

  test('embeds texts without any word of the vocabulary, and of any script', async () => {
    const odd = ['🦔🦔', '漢字とかな', 'x'.repeat(5000), '\u0000\u200b', '...'];
    const vectors = vectorsOf(await embed(service, odd));
    for (const vector of vectors) expect(vector.every(Number.isFinite)).toBe(true);
  });
});

describe('under load', () => {
  const many = Array.from({ length: 2048 }, (_, at) => `Transfer number ${at} was booked.`);
  const request = { model: MODEL, inputs: many, options: undefined };

  /** A call for all of them, that takes seconds unless it is cancelled. */
  function startLong() {
    const ended = Promise.withResolvers<number | undefined>();
    const call = service.client.embed(request, (error) => ended.resolve(error?.code));
    return { cancel: () => call.cancel(), code: ended.promise };
  }

  test('refuses what the queue cannot hold, says when to come again, and has room once calls are cancelled', async () => {
    const calls = [startLong(), startLong()];
    const error = await refusalOf(embed(service, [short]));
    expect(error.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(error.details.errorInfo?.reason).toBe('QUEUE_FULL');
    expect(error.details.retryDelayMs).toBeGreaterThan(0);
    for (const call of calls) call.cancel();
    expect(await Promise.all(calls.map(({ code }) => code))).toEqual([status.CANCELLED, status.CANCELLED]);
    await expect
      .poll(() =>
        embed(service, [short]).then(
          ({ embeddings }) => embeddings.length,
          () => 0,
        ),
      )
      .toBe(1);
  });

  test('serves a single text while a long list of another caller is under way', async () => {
    const list = startLong();
    let listEnded = false;
    void list.code.then(() => (listEnded = true));
    await embed(service, [short]);
    await embed(service, [short]);
    expect(listEnded).toBe(false);
    list.cancel();
    await list.code;
  });

  test('ends a call at its deadline', async () => {
    const code = await new Promise((resolve) => {
      const options = { deadline: Date.now() + 100 };
      service.client.embed(request, new Metadata(), options, (error) => resolve(error?.code));
    });
    expect(code).toBe(status.DEADLINE_EXCEEDED);
  });
});
