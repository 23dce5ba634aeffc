import { expect, test } from 'vitest';
import { FairQueue } from './fair-queue.ts';

const item = (name: string, cost = 1) => ({ name, cost });
const queue = () => new FairQueue<{ name: string; cost: number }>(({ cost }) => cost);
const served = (of: ReturnType<typeof queue>, times: number) => {
  const names: string[] = [];
  for (let at = 0; at < times; at += 1) {
    const [next] = of.next(1);
    if (next === undefined) break;
    of.serve(new Set([next]));
    names.push(next.name);
  }
  return names;
};

test('keeps one caller waiting for one item of another, not for all of them', () => {
  const fair = queue();
  fair.add([item('bulk1'), item('bulk2'), item('bulk3'), item('bulk4')]);
  expect(served(fair, 2)).toEqual(['bulk1', 'bulk2']);
  fair.add([item('single')]);
  expect(served(fair, 3)).toEqual(['bulk3', 'single', 'bulk4']);
});

test('starves no caller while newcomers keep coming', () => {
  const fair = queue();
  fair.add([item('first'), item('heavy', 5)]);
  const names: string[] = [];
  for (let round = 0; round < 12; round += 1) {
    fair.add([item('newcomer')]);
    names.push(...served(fair, 1));
  }
  expect(names).toContain('heavy');
});

test('forgets the cost of what is dropped', () => {
  const fair = queue();
  const dropped = item('dropped', 4);
  fair.add([item('kept', 3), dropped]);
  fair.drop(new Set([dropped]));
  expect([fair.length, fair.cost]).toEqual([1, 3]);
});
