import { expect, test } from 'vitest';
import { CallSlots } from './call-slots.ts';

test('tasks beyond the slots wait in the order they came, and a failed task gives its slot back', async () => {
  const slots = new CallSlots(1);
  const { signal } = new AbortController();
  const order: string[] = [];
  const task = (name: string) => async (): Promise<void> => {
    order.push(name);
    await new Promise((resolve) => setImmediate(resolve));
    if (name === 'a') throw new Error('a failed');
  };
  const all = await Promise.allSettled(['a', 'b', 'c'].map((name) => slots.run(signal, task(name))));
  expect(order).toEqual(['a', 'b', 'c']);
  expect(all.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
});

test('a task that is aborted while it waits never begins and takes no slot', async () => {
  const slots = new CallSlots(1);
  const holding = Promise.withResolvers<void>();
  const aborted = new AbortController();
  const { signal } = new AbortController();
  const held = slots.run(signal, () => holding.promise);
  let began = false;
  const waiting = slots.run(aborted.signal, async () => {
    began = true;
  });
  aborted.abort(new Error('no longer wanted'));
  await expect(waiting).rejects.toThrow('no longer wanted');
  holding.resolve();
  await held;
  expect(await slots.run(signal, async () => 'free')).toBe('free');
  expect(began).toBe(false);
});
