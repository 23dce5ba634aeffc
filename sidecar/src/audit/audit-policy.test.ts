import { expect, test } from 'vitest';
import { isSampled } from './audit-policy.ts';

const ids = Array.from({ length: 20_000 }, (_, i) => `c47d6a7c01-${i.toString(36)}`);

test.each([0.01, 0.1, 0.5, 0.9])('of decisions counted up, a share of %d is recorded', (ratio) => {
  const share = ids.filter((id) => isSampled(id, ratio)).length / ids.length;
  expect(Math.abs(share - ratio)).toBeLessThan(0.02);
});

test('whatever is recorded at a small share is recorded at a larger one, every time', () => {
  for (const id of ids.slice(0, 2000)) {
    expect(isSampled(id, 0.2)).toBe(isSampled(id, 0.2));
    if (isSampled(id, 0.2)) expect(isSampled(id, 0.3)).toBe(true);
  }
});

test('all or nothing is exact', () => {
  expect(ids.every((id) => isSampled(id, 1))).toBe(true);
  expect(ids.some((id) => isSampled(id, 0))).toBe(false);
});
