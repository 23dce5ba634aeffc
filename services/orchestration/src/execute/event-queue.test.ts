import { expect, test } from 'vitest';
import { EventQueue } from './event-queue.ts';

test('a writer waits while the queue is full, and goes on as the reader takes events', async () => {
  const queue = new EventQueue<number>(2);
  let written = 0;
  const writing = (async () => {
    for (; written < 5; written += 1) await queue.push(written);
    queue.end();
  })();
  const reader = queue.read();
  expect(await reader.next()).toEqual({ done: false, value: 0 });
  await new Promise((resolve) => setImmediate(resolve));
  expect(written).toBe(3);
  const rest: number[] = [];
  for await (const event of reader) rest.push(event);
  await writing;
  expect(rest).toEqual([1, 2, 3, 4]);
});

test('the end lets waiting writers go, and the reader gets what waits before the error', async () => {
  const queue = new EventQueue<number>(1);
  await queue.push(1);
  const waiting = queue.push(2);
  queue.end({ error: new Error('broken') });
  await waiting;
  const reader = queue.read();
  expect(await reader.next()).toEqual({ done: false, value: 1 });
  await expect(reader.next()).rejects.toThrow('broken');
});

test('a reader that waits is woken by an event and by the end', async () => {
  const queue = new EventQueue<number>(1);
  const reader = queue.read();
  const first = reader.next();
  await queue.push(1);
  expect(await first).toEqual({ done: false, value: 1 });
  const second = reader.next();
  queue.end();
  expect(await second).toEqual({ done: true, value: undefined });
});
