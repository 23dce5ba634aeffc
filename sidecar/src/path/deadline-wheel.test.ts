import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { DeadlineWheel, type Expiring } from './deadline-wheel.ts';

const TICK_MS = 10;
const clock = (): number => Date.now();

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_003 });
});
afterEach(() => {
  vi.useRealTimers();
});

class Waiting implements Expiring {
  deadlineAtMs: number;
  wheelSlot: Expiring['wheelSlot'] = null;
  wheelPlace = 0;
  calledAtMs: number[] = [];
  constructor(deadlineAtMs: number) {
    this.deadlineAtMs = deadlineAtMs;
  }
  onDeadline(): void {
    this.calledAtMs.push(clock());
  }
}

function addAll(wheel: DeadlineWheel, inMs: readonly number[]): Waiting[] {
  return inMs.map((ms) => {
    const item = new Waiting(clock() + ms);
    wheel.add(item);
    return item;
  });
}

test('thousands of deadlines over several turns are each called once, none early and none later than two ticks', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 25_000, noNaN: true }), { minLength: 200, maxLength: 400 }),
      (inMs) => {
        const wheel = new DeadlineWheel(clock);
        const items = addAll(wheel, inMs);
        expect(wheel.size).toBe(items.length);
        vi.advanceTimersByTime(25_000 + 2 * TICK_MS);
        for (const { deadlineAtMs, calledAtMs } of items) {
          expect(calledAtMs).toHaveLength(1);
          expect(calledAtMs[0]).toBeGreaterThanOrEqual(deadlineAtMs);
          expect((calledAtMs[0] ?? 0) - deadlineAtMs).toBeLessThanOrEqual(2 * TICK_MS);
        }
        expect(wheel.size).toBe(0);
      },
    ),
    { numRuns: 10 },
  );
});

test('one that is removed is never called, and the rest are', () => {
  const wheel = new DeadlineWheel(clock);
  const items = addAll(
    wheel,
    Array.from({ length: 500 }, (_, i) => i * 7),
  );
  for (const [index, item] of items.entries()) if (index % 3 === 0) wheel.remove(item);
  vi.advanceTimersByTime(5_000);
  for (const [index, { calledAtMs }] of items.entries())
    expect(calledAtMs).toHaveLength(index % 3 === 0 ? 0 : 1);
});

test('the timer sleeps until the first deadline, and for good when none is left', () => {
  const setTimeoutSpy = vi.spyOn(globalThis, 'setTimeout');
  const wheel = new DeadlineWheel(clock);
  expect(vi.getTimerCount()).toBe(0);
  const [first, second] = addAll(wheel, [100, 20_000]) as [Waiting, Waiting];
  for (const item of addAll(wheel, [200, 300, 400])) wheel.remove(item);
  expect(setTimeoutSpy).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(200);
  expect(first.calledAtMs).toHaveLength(1);
  expect(vi.getTimerCount()).toBe(1);
  wheel.remove(second);
  wheel.remove(second);
  expect(wheel.size).toBe(0);
  vi.advanceTimersByTime(20_000);
  expect(vi.getTimerCount()).toBe(0);
  expect(second.calledAtMs).toHaveLength(0);
});

test('a deadline before all others wakes the timer earlier', () => {
  const wheel = new DeadlineWheel(clock);
  const [, early] = addAll(wheel, [9_000, 50]) as [Waiting, Waiting];
  vi.advanceTimersByTime(50 + 2 * TICK_MS);
  expect(early.calledAtMs).toHaveLength(1);
});

test('adding twice counts once', () => {
  const wheel = new DeadlineWheel(clock);
  const [item] = addAll(wheel, [100]) as [Waiting];
  wheel.add(item);
  expect(wheel.size).toBe(1);
  vi.advanceTimersByTime(200);
  expect(item.calledAtMs).toHaveLength(1);
});

test('a deadline that has passed already is called with the next tick, also by a wheel that runs', () => {
  const idle = new DeadlineWheel(clock);
  const [late] = addAll(idle, [-500]) as [Waiting];
  vi.advanceTimersByTime(2 * TICK_MS);
  expect(late.calledAtMs).toHaveLength(1);

  const running = new DeadlineWheel(clock);
  addAll(running, [60_000]);
  vi.advanceTimersByTime(1_000);
  const [later] = addAll(running, [-500]) as [Waiting];
  vi.advanceTimersByTime(2 * TICK_MS);
  expect(later.calledAtMs).toHaveLength(1);
});

test('after a pause of the process longer than a turn every passed deadline is called at once', () => {
  const wheel = new DeadlineWheel(clock);
  const items = addAll(wheel, [5, 3_000, 9_999, 10_240, 15_000, 29_000]);
  vi.setSystemTime(clock() + 30_000);
  vi.advanceTimersByTime(TICK_MS);
  for (const { calledAtMs } of items) expect(calledAtMs).toHaveLength(1);
});

test('a deadline may add another when it is called', () => {
  const wheel = new DeadlineWheel(clock);
  const next = new Waiting(clock() + 100);
  const first = new Waiting(clock() + 50);
  first.onDeadline = () => wheel.add(next);
  wheel.add(first);
  vi.advanceTimersByTime(100 + 2 * TICK_MS);
  expect(next.calledAtMs).toHaveLength(1);
});
