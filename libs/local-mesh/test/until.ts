import { setTimeout as wait } from 'node:timers/promises';

const POLL_MS = 20;

/** Waits until a condition holds; throws when it does not within the limit. */
export async function until(condition: () => Promise<boolean> | boolean, msMax = 10_000): Promise<void> {
  const end = performance.now() + msMax;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`the condition did not hold within ${msMax} ms`);
    await wait(POLL_MS);
  }
}
