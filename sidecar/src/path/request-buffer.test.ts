import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteBudget } from './byte-budget.ts';
import { RequestBuffer } from './request-buffer.ts';

test('a budget gives as much as it has and no more, and again what was given back', () => {
  const budget = new ByteBudget(10);
  expect(budget.take(6)).toBe(true);
  expect(budget.take(5)).toBe(false);
  expect(budget.usedBytes).toBe(6);
  expect(budget.take(4)).toBe(true);
  budget.give(6);
  expect(budget.take(6)).toBe(true);
  expect(budget.usedBytes).toBe(10);
});

test('buffers that add, join and clear in any order hold exactly what the budget counts, and leave nothing', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('add' as const), which: fc.nat(2), bytes: fc.nat(30) }),
    fc.record({
      do: fc.constantFrom('clear' as const, 'join' as const),
      which: fc.nat(2),
      bytes: fc.nat(40),
    }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const budget = new ByteBudget(100);
      const buffers = [0, 1, 2].map(() => new RequestBuffer(budget));
      for (const { do: what, which, bytes } of steps) {
        const buffer = buffers[which] as RequestBuffer;
        if (what === 'add') buffer.add(Buffer.alloc(bytes + 4), 2, bytes + 2);
        else buffer[what]();
        const held = buffers.reduce(
          (sum, each) => sum + each.chunks.reduce((all, chunk) => all + chunk.length, 0),
          0,
        );
        expect(budget.usedBytes).toBe(held);
        expect(held).toBeLessThanOrEqual(100);
      }
      for (const buffer of buffers) buffer.clear();
      expect(budget.usedBytes).toBe(0);
    }),
  );
});

test('keeps a copy, because the chunk that bytes came in is used again', () => {
  const buffer = new RequestBuffer(new ByteBudget(100));
  const chunk = Buffer.from('abcdef');
  buffer.add(chunk, 1, 4);
  chunk.fill(0);
  buffer.add(Buffer.from('xyz'), 0, 3);
  expect(buffer.join().toString()).toBe('bcdxyz');
});

test('what does not fit is not added in part', () => {
  const budget = new ByteBudget(5);
  const buffer = new RequestBuffer(budget);
  expect(buffer.add(Buffer.from('abc'), 0, 3)).toBe(true);
  expect(buffer.add(Buffer.from('def'), 0, 3)).toBe(false);
  expect(buffer.join().toString()).toBe('abc');
  expect(budget.usedBytes).toBe(3);
});

test('bytes that come one by one are put together', () => {
  const buffer = new RequestBuffer(new ByteBudget(100_000));
  const source = Buffer.from(Array.from({ length: 50_000 }, (_, i) => i % 251));
  for (let i = 0; i < source.length; i++) buffer.add(source, i, i + 1);
  expect(buffer.chunks.length).toBeLessThan(25);
  expect(Buffer.concat(buffer.chunks).equals(source)).toBe(true);
  expect(buffer.bytes).toBe(50_000);
});

test('what was given out stays as it was, whatever other calls keep meanwhile', () => {
  const budget = new ByteBudget(1_000_000);
  const given = Array.from({ length: 600 }, (_, i) => {
    const buffer = new RequestBuffer(budget);
    for (const text of [`${i} a`, 'b', 'x'.repeat(i)]) buffer.add(Buffer.from(text), 0, text.length);
    const part = i % 2 === 0 ? buffer.join() : (buffer.chunks[0] as Buffer);
    buffer.add(Buffer.from('later'), 0, 5);
    buffer.clear();
    return part;
  });
  for (let i = 0; i < 600; i++) {
    const buffer = new RequestBuffer(budget);
    buffer.add(Buffer.alloc(700, 'Z'), 0, 700);
    if (i % 3 > 0) buffer.clear();
  }
  for (const [i, part] of given.entries()) expect(part.toString()).toBe(`${i} ab${'x'.repeat(i)}`);
});

test('a buffer that was cleared may be used again', () => {
  const buffer = new RequestBuffer(new ByteBudget(100));
  buffer.add(Buffer.from('abc'), 0, 3);
  buffer.clear();
  buffer.add(Buffer.from('de'), 0, 2);
  expect([buffer.join().toString(), buffer.chunks.length, buffer.bytes]).toEqual(['de', 1, 2]);
});
