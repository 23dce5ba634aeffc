import { expect, test } from 'vitest';
import type { Compute } from './compute.ts';
import { Scheduler } from './scheduler.ts';

/** A compute whose tokens are the characters, whose vector is the length, and whose batches the test lets pass. */
function scripted() {
  const batches: number[][] = [];
  const gates: PromiseWithResolvers<void>[] = [];
  const compute: Compute = {
    dimensions: 1,
    tokenize: async (texts) => texts.map((text) => Int32Array.from(text, (char) => char.charCodeAt(0))),
    embed: async (batch) => {
      batches.push(batch.map(({ length }) => length));
      const gate = Promise.withResolvers<void>();
      gates.push(gate);
      await gate.promise;
      return Float32Array.from(batch, ({ length }) => length);
    },
    ended: new Promise(() => undefined),
    close: async () => undefined,
  };
  /** Lets the batch that runs finish, once it has begun. */
  const finish = async (count = 1) => {
    for (let done = 0; done < count; done += 1) {
      await expect.poll(() => gates.length).toBeGreaterThan(0);
      gates.shift()?.resolve();
    }
  };
  return { compute, batches, gates, finish };
}

const never = new AbortController().signal;
const tokens = (...lengths: number[]) => lengths.map((length) => new Int32Array(length));
const limits = { batchTokensMax: 8, batchWaitMsMax: 0 };
const clock = () => performance.now();

test('answers every text with its own vector although batches are sorted by length', async () => {
  const { compute, batches, finish } = scripted();
  const scheduler = new Scheduler(compute, limits, clock);
  const vectors = scheduler.embed(tokens(2, 7, 2, 2, 8), never);
  await finish(3);
  expect((await vectors).map(([value]) => value)).toEqual([2, 7, 2, 2, 8]);
  expect(batches).toEqual([[2, 2, 2], [7], [8]]);
});

test('joins texts of several callers in one batch while another runs', async () => {
  const { compute, batches, finish } = scripted();
  const scheduler = new Scheduler(compute, limits, clock);
  const first = scheduler.embed(tokens(8), never);
  await expect.poll(() => batches.length).toBe(1);
  const others = [scheduler.embed(tokens(4), never), scheduler.embed(tokens(4), never)];
  await finish(2);
  await Promise.all([first, ...others]);
  expect(batches).toEqual([[8], [4, 4]]);
});

test('waits for company when idle, and no longer once the batch is full', async () => {
  const { compute, batches, finish } = scripted();
  const scheduler = new Scheduler(compute, { batchTokensMax: 8, batchWaitMsMax: 60_000 }, clock);
  const one = scheduler.embed(tokens(4), never);
  await new Promise((resolve) => setImmediate(resolve));
  expect(batches).toEqual([]);
  const two = scheduler.embed(tokens(4), never);
  await finish();
  await Promise.all([one, two]);
  expect(batches).toEqual([[4, 4]]);
});

test('drops the texts of a cancelled caller before they run', async () => {
  const { compute, batches, finish } = scripted();
  const scheduler = new Scheduler(compute, limits, clock);
  const first = scheduler.embed(tokens(8), never);
  await expect.poll(() => batches.length).toBe(1);
  const caller = new AbortController();
  const cancelled = scheduler.embed(tokens(8, 8), caller.signal);
  const last = scheduler.embed(tokens(5), never);
  caller.abort(new Error('gone'));
  await expect(cancelled).rejects.toThrow('gone');
  await finish(2);
  await Promise.all([first, last]);
  expect(batches).toEqual([[8], [5]]);
  expect(scheduler.waitMsEstimate()).toBe(0);
});

test('lets the batches of others run between the slices of a long tokenising', async () => {
  const { compute, batches, finish } = scripted();
  const order: string[] = [];
  const slow: Compute = {
    ...compute,
    tokenize: async (texts) => {
      order.push('slice');
      return compute.tokenize(texts);
    },
    embed: async (batch) => {
      order.push('batch');
      return compute.embed(batch);
    },
  };
  const scheduler = new Scheduler(slow, limits, clock);
  const long = scheduler.tokenize(
    Array.from({ length: 4 }, () => 'x'.repeat(16_384)),
    never,
  );
  const short = scheduler.embed(tokens(2), never);
  await finish();
  await Promise.all([long, short]);
  expect(order).toEqual(['slice', 'batch', 'slice', 'slice', 'slice']);
  expect(batches).toEqual([[2]]);
});

test('fails the texts of a batch that cannot be computed and goes on with the next', async () => {
  const { compute, finish } = scripted();
  let broken = true;
  const failing: Compute = {
    ...compute,
    embed: (batch) => {
      if (!broken) return compute.embed(batch);
      broken = false;
      return Promise.reject(new Error('out of memory'));
    },
  };
  const scheduler = new Scheduler(failing, limits, clock);
  await expect(scheduler.embed(tokens(3), never)).rejects.toThrow('out of memory');
  const next = scheduler.embed(tokens(3), never);
  await finish();
  expect((await next).map(([value]) => value)).toEqual([3]);
});
