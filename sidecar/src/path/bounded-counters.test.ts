import { expect, test } from 'vitest';
import { BoundedCounters, OTHER } from './bounded-counters.ts';

test('the first names have counts of their own, and all later ones share one', () => {
  const counters = new BoundedCounters(2, () => ({ calls: 0 }));
  for (const name of ['a', 'b', 'c', 'd', 'a']) counters.of(name).calls += 1;
  expect(new Map(counters)).toEqual(
    new Map([
      ['a', { calls: 2 }],
      ['b', { calls: 1 }],
      [OTHER, { calls: 2 }],
    ]),
  );
});
