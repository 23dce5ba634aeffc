import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadContract } from '@gatehouse/contracts';
import { EmbedResponse } from '@gatehouse/contracts/embeddings';
import { StreamGenerateResponse } from '@gatehouse/contracts/inference';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Stream } from '../http2/index.ts';
import type { Admitted } from './5-admit.ts';
import { ByteBudget } from './byte-budget.ts';
import { Call } from './call.ts';
import { CallMetrics } from './call-metrics.ts';
import { tellsUsage, UsageMeter } from './usage-meter.ts';

const descriptorSet = readFileSync(
  fileURLToPath(import.meta.resolve('@gatehouse/contracts/descriptors.binpb')),
);
const loaded = loadContract({ descriptorSet });
if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
const { methods } = loaded.contract;
const STREAM = '/gatehouse.inference.v1.InferenceService/StreamGenerate';
const EMBED = '/gatehouse.embeddings.v1.EmbeddingsService/Embed';

function metered(path: string, budget = new ByteBudget(4 * 1024 * 1024)) {
  const call = new Call('inbound', {} as Stream, 0);
  call.identity = 'spiffe://test/caller';
  call.path = path;
  call.method = methods.get(path) ?? null;
  call.requestValues = { model: 'm' } as Call['requestValues'];
  const metrics = new CallMetrics('inbound');
  let firstTokens = 0;
  const meter = new UsageMeter(call as Admitted, metrics, budget, () => (firstTokens += 1));
  return {
    meter,
    budget,
    firstTokens: () => firstTokens,
    tokens: () =>
      [metrics.models.of('m'), metrics.callers.of(call.identity)].map(({ inputTokens, outputTokens }) => [
        inputTokens,
        outputTokens,
      ]),
  };
}

function framed(message: Uint8Array, flag = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

const started = framed(
  StreamGenerateResponse.encode({
    event: { $case: 'started', value: { model: 'm', inputTokens: 7 } },
  }).finish(),
);
const delta = (outputTokens: number, text = 'x') =>
  framed(
    StreamGenerateResponse.encode({ event: { $case: 'delta', value: { text, outputTokens } } }).finish(),
  );

test('however a stream is cut, what it told last is what is counted, once for the model and once for the caller', () => {
  const message = fc.oneof(fc.constant('x'), fc.constant(''), fc.constant('y'.repeat(300)));
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 60 }),
      fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 20 }),
      (texts, sizes) => {
        const whole = Buffer.concat([started, ...texts.map((text, index) => delta(index + 1, text))]);
        const { meter, tokens, budget, firstTokens } = metered(STREAM);
        for (let at = 0, turn = 0; at < whole.length; turn++) {
          const end = Math.min(whole.length, at + (sizes[turn % sizes.length] ?? 1));
          // The chunk is another's memory, and is written over afterwards.
          const chunk = Buffer.from(whole.subarray(at, end));
          meter.see(chunk, 0, chunk.length);
          chunk.fill(0xff);
          at = end;
        }
        meter.end();
        expect(tokens()).toEqual([
          [7, texts.length],
          [7, texts.length],
        ]);
        expect(firstTokens()).toBe(texts.length > 0 ? 1 : 0);
        expect(budget.usedBytes).toBe(0);
      },
    ),
  );
});

test('while a stream goes on its tokens are counted, at most sixteen messages late', () => {
  const { meter, tokens, firstTokens } = metered(STREAM);
  meter.see(started, 0, started.length);
  expect([tokens()[0], firstTokens()]).toEqual([[7, 0], 0]);
  const first = delta(1);
  meter.see(first, 0, first.length);
  expect([tokens()[0], firstTokens()]).toEqual([[7, 1], 1]);
  for (let output = 2; output <= 200; output++) {
    const next = delta(output);
    meter.see(next, 0, next.length);
    expect(output - (tokens()[0]?.[1] ?? 0)).toBeLessThanOrEqual(16);
  }
  meter.end();
  expect(tokens()[0]).toEqual([7, 200]);
});

test('a large message that comes in pieces is read, one of more than a mebibyte is passed over', () => {
  const answer = (length: number): Buffer => {
    const values = Array.from({ length }, () => 0.5);
    const embedding = {
      vector: { $case: 'float32', value: { values } },
      inputTokens: 9,
      truncated: false,
    } as const;
    return framed(EmbedResponse.encode({ model: 'm', embeddings: [embedding], inputTokens: 9 }).finish());
  };
  for (const [length, expected] of [
    [100_000, 9],
    [300_000, 0],
  ] as const) {
    const { meter, tokens, budget } = metered(EMBED);
    const whole = answer(length);
    for (let at = 0; at < whole.length; at += 16_384)
      meter.see(whole, at, Math.min(at + 16_384, whole.length));
    meter.end();
    expect(tokens()[0]).toEqual([expected, 0]);
    expect(budget.usedBytes).toBe(0);
  }
});

test('without room for pieces, or with bytes that are no message, a call goes on uncounted', () => {
  const { meter, tokens, budget } = metered(STREAM, new ByteBudget(3));
  meter.see(started, 0, 10);
  meter.see(started, 10, started.length);
  const all = Buffer.concat([delta(5), delta(6)]);
  meter.see(all, 0, all.length);
  meter.end();
  expect([tokens()[0], budget.usedBytes]).toEqual([[0, 0], 0]);

  const other = metered(STREAM);
  for (const junk of [framed(Buffer.from([0xff, 0xff, 0xff])), framed(delta(3), 1), framed(Buffer.alloc(0))])
    other.meter.see(junk, 0, junk.length);
  const last = delta(4);
  other.meter.see(last, 0, last.length);
  other.meter.end();
  expect(other.tokens()[0]).toEqual([0, 4]);
});

test('methods whose responses tell of no tokens have no meter', () => {
  const telling = [...methods.values()].filter(tellsUsage).map(({ path }) => path.split('/')[2] ?? '');
  expect(telling.toSorted((one, other) => one.localeCompare(other))).toEqual([
    'Embed',
    'Execute',
    'Generate',
    'StreamEmbed',
    'StreamExecute',
    'StreamGenerate',
  ]);
});
