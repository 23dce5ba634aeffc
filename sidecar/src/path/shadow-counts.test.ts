import { expect, test } from 'vitest';
import { ShadowCounts } from './shadow-counts.ts';

test('counts by caller, method and what would have been decided', () => {
  const counts = new ShadowCounts();
  counts.add('a', 's/M', 'deny');
  counts.add('a', 's/M', 'deny');
  counts.add('a', 's/M', 'allow');
  counts.add('b', 's/N', 'deny');
  expect([...counts.series()]).toEqual([
    { identity: 'a', method: 's/M', would: 'deny', total: 2 },
    { identity: 'a', method: 's/M', would: 'allow', total: 1 },
    { identity: 'b', method: 's/N', would: 'deny', total: 1 },
  ]);
});

test('callers beyond the limit share one count', () => {
  const counts = new ShadowCounts(2);
  for (let i = 0; i < 1000; i++) counts.add(`caller-${i}`, 's/M', 'deny');
  expect([...counts.series()]).toEqual([
    { identity: 'caller-0', method: 's/M', would: 'deny', total: 1 },
    { identity: 'caller-1', method: 's/M', would: 'deny', total: 1 },
    { identity: '_OTHER', method: 's/M', would: 'deny', total: 998 },
  ]);
});
