import { expect, test } from 'vitest';
import { LineBudget } from './line-budget.ts';

test('after a burst as many lines are written as time earns, and the next says how many were left out', () => {
  const budget = new LineBudget();
  const taken = Array.from({ length: 600 }, () => budget.take(1000));
  expect(taken.filter((leftOut) => leftOut === 0)).toHaveLength(500);
  expect(taken.filter((leftOut) => leftOut === null)).toHaveLength(100);
  expect(budget.take(1010)).toBe(null);
  expect(budget.take(1030)).toBe(101);
  expect(budget.take(11_000)).toBe(0);
});
