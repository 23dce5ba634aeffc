import { expect, test } from 'vitest';
import { BoundedCounters, OTHER } from './bounded-counters.ts';

test('the first names have counts of their own, and all later ones share one', () => {
  const counters = new BoundedCounters(2);
  for (const name of ['a', 'b', 'c', 'd', 'a']) counters.of(name).answered += 1;
  expect(new Map(counters)).toEqual(
    new Map([
      ['a', { answered: 2, refused: 0, failed: 0 }],
      ['b', { answered: 1, refused: 0, failed: 0 }],
      [OTHER, { answered: 2, refused: 0, failed: 0 }],
    ]),
  );
});
