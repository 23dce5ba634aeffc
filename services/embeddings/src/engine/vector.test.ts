import { expect, test } from 'vitest';
import { normalize, toInt8 } from './vector.ts';

test('scales a vector to length 1 and leaves a zero vector zero', () => {
  const vector = Float32Array.of(3, 4);
  normalize(vector);
  expect([...vector]).toEqual([Math.fround(0.6), Math.fround(0.8)]);
  const zero = new Float32Array(2);
  normalize(zero);
  expect([...zero]).toEqual([0, 0]);
});

test('packs values into bytes that are off by half a step at most', () => {
  const vector = Float32Array.of(-0.5, 0.25, 0.1, 0, 0.499);
  const { values, scale } = toInt8(vector);
  expect(values[0]).toBe(-127);
  for (const [at, value] of vector.entries()) {
    expect(Math.abs(values[at]! * scale - value)).toBeLessThanOrEqual(scale / 2 + 1e-9);
  }
  expect(toInt8(new Float32Array(2))).toEqual({ values: new Int8Array(2), scale: 0 });
});
