import { describe, expect, it } from 'vitest';
import { RetryBudget } from './retry-budget.ts';

const options = { retryPercent: 20, retriesPerSecondMin: 2, retriesSavedMax: 10 };

function spent(nowMs = { value: 0 }): RetryBudget {
  const budget = new RetryBudget(options, () => nowMs.value);
  while (budget.withdraw());
  return budget;
}

describe('RetryBudget', () => {
  it('begins with what can be saved up, and no more', () => {
    const budget = new RetryBudget(options, () => 0);
    expect(Array.from({ length: 12 }, () => budget.withdraw())).toEqual([
      ...Array(10).fill(true),
      false,
      false,
    ]);
  });

  it('gives one retry for every five calls', () => {
    const budget = spent();
    let retries = 0;
    for (let call = 0; call < 1_000; call += 1) {
      budget.deposit();
      retries += budget.withdraw() ? 1 : 0;
    }
    expect(retries).toBeGreaterThanOrEqual(199);
    expect(retries).toBeLessThanOrEqual(200);
  });

  it('gives a few retries each second without calls', () => {
    const now = { value: 0 };
    const budget = spent(now);
    now.value = 1_500;
    expect([budget.withdraw(), budget.withdraw(), budget.withdraw(), budget.withdraw()]).toEqual([
      true,
      true,
      true,
      false,
    ]);
  });

  it('saves no more than its bound over a long quiet time', () => {
    const now = { value: 0 };
    const budget = spent(now);
    now.value = 3_600_000;
    expect(budget.available).toBe(10);
  });
});
