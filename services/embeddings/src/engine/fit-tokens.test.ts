import { expect, test } from 'vitest';
import { fitTokens } from './fit-tokens.ts';

const ids = Int32Array.of(101, 1, 2, 3, 4, 102);

test('leaves a text alone that is just as long as the limit', () => {
  expect(fitTokens(ids, 6, 'fail')).toEqual({ fits: true, ids, truncated: false });
});

test('refuses a longer text and counts its tokens under policy fail', () => {
  expect(fitTokens(ids, 5, 'fail')).toEqual({ fits: false, tokens: 6 });
});

test('cuts the end or the start and keeps the special tokens at both ends', () => {
  expect(fitTokens(ids, 4, 'end')).toEqual({
    fits: true,
    ids: Int32Array.of(101, 1, 2, 102),
    truncated: true,
  });
  expect(fitTokens(ids, 4, 'start')).toEqual({
    fits: true,
    ids: Int32Array.of(101, 3, 4, 102),
    truncated: true,
  });
});
