import { expect, test } from 'vitest';
import { chooseBatch } from './choose-batch.ts';

const text = (tokens: number) => ({ tokens });
const choose = (lengths: readonly number[], tokensMax: number) =>
  [...chooseBatch(lengths.map(text), ({ tokens }) => tokens, tokensMax)].map(({ tokens }) => tokens);

test('takes the first and what is nearest to it in length', () => {
  expect(choose([10, 200, 11, 9, 150, 12], 40)).toEqual([10, 11, 9]);
});

test('counts the padding: every text is as wide as the longest', () => {
  expect(choose([4, 4, 20], 32)).toEqual([4, 4]);
  expect(choose([4, 4, 20], 60)).toEqual([4, 4, 20]);
});

test('always takes the first, whatever its length', () => {
  expect(choose([50, 1], 20)).toEqual([50]);
  expect(choose([], 20)).toEqual([]);
});
