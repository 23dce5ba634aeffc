import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BreakerChange, FailureCause, Outcome } from './breaker.ts';
import { Breaker, defaultBreakerOptions } from './breaker.ts';

const options = {
  ...defaultBreakerOptions,
  callsMin: 4,
  openMs: 1_000,
  openMsMax: 3_000,
  probesMax: 2,
  probeMsMax: 500,
};
const clock = () => Date.now();
let breaker: Breaker;
let changes: BreakerChange[];

beforeEach(() => {
  vi.useFakeTimers();
  changes = [];
  breaker = new Breaker(options, clock, (change) => changes.push(change));
});

afterEach(() => {
  breaker.close();
  vi.useRealTimers();
});

function call(outcome: Outcome, cause: FailureCause = 'internal'): boolean {
  const permit = breaker.admit();
  if (permit !== null) {
    breaker.settle(permit, outcome, cause);
  }
  return permit !== null;
}

function opened(cause: FailureCause = 'reset'): void {
  for (let count = 0; count < options.callsMin; count += 1) {
    call('failure', cause);
  }
}

/** opossum hears of a success one turn later. */
const replayed = () => vi.advanceTimersByTimeAsync(0);
const state = () => breaker.view().state;

describe('Breaker', () => {
  it('opens at once when more than half of enough calls fail, and says why', () => {
    call('success');
    call('failure', 'connect');
    call('failure', 'connect');
    expect(state(), 'below the least number of calls').toBe('closed');
    call('failure', 'unavailable');
    expect(breaker.view()).toMatchObject({
      state: 'open',
      openedBy: 'unavailable',
      nextProbeInMs: 1_000,
      failuresTotal: 3,
    });
    expect(changes).toEqual([
      { state: 'open', previous: 'closed', openedBy: 'unavailable', atMs: Date.now() },
    ]);
    expect(call('success'), 'turned away').toBe(false);
    expect(breaker.view().rejectedTotal).toBe(1);
  });

  it('weighs failures against every success of the window', () => {
    for (let count = 0; count < 5; count += 1) {
      call('success');
      vi.advanceTimersByTime(1_000);
    }
    const failures = [1, 2, 3, 4, 5].map(() => (call('failure'), state()));
    expect(failures, 'exactly half is not more than half').toEqual(Array(5).fill('closed'));
    call('failure');
    expect(state()).toBe('open');
  });

  it('is never opened by neutral outcomes, however many', () => {
    for (let count = 0; count < 1_000; count += 1) {
      call('neutral');
    }
    call('failure');
    expect(breaker.view()).toMatchObject({ state: 'closed', neutralsTotal: 1_000 });
  });

  it('counts the share of failures among calls that say something, not among all', () => {
    for (let count = 0; count < 100; count += 1) {
      call('neutral');
    }
    opened();
    expect(state()).toBe('open');
  });

  it('forgets failures that are older than its window', () => {
    for (let count = 0; count < 3; count += 1) {
      call('failure');
    }
    vi.advanceTimersByTime(10_000);
    call('failure');
    expect(state()).toBe('closed');
  });

  it('probes after the open time and closes with the first success', async () => {
    opened();
    vi.advanceTimersByTime(999);
    expect(call('success')).toBe(false);
    vi.advanceTimersByTime(1);
    expect(state()).toBe('half-open');
    expect(call('success')).toBe(true);
    await replayed();
    expect(state()).toBe('closed');
    expect(changes.map(({ state: to }) => to)).toEqual(['open', 'half-open', 'closed']);
  });

  it('starts with an empty window after it has closed', async () => {
    opened();
    vi.advanceTimersByTime(1_000);
    call('success');
    await replayed();
    call('failure');
    expect(state()).toBe('closed');
  });

  it('opens again with the first failed probe, for twice as long up to a bound', async () => {
    opened();
    const waits: (number | null)[] = [];
    for (let round = 0; round < 3; round += 1) {
      vi.advanceTimersByTime(breaker.nextProbeInMs);
      call('failure');
      waits.push(breaker.view().nextProbeInMs);
    }
    expect(waits).toEqual([2_000, 3_000, 3_000]);
    vi.advanceTimersByTime(3_000);
    call('success');
    await replayed();
    opened();
    expect(breaker.view().nextProbeInMs, 'back to the first wait').toBe(1_000);
  });

  it('lets more than one probe run, and no more than its limit', () => {
    opened();
    vi.advanceTimersByTime(1_000);
    expect([breaker.admit(), breaker.admit(), breaker.admit()].map((permit) => permit !== null)).toEqual([
      true,
      true,
      false,
    ]);
  });

  it('stays half-open on a neutral probe and makes room for the next', () => {
    opened();
    vi.advanceTimersByTime(1_000);
    for (let count = 0; count < 10; count += 1) {
      expect(call('neutral')).toBe(true);
    }
    expect(state()).toBe('half-open');
  });

  it('is not blocked by probes that take for ever, and still hears them out', async () => {
    opened();
    vi.advanceTimersByTime(1_000);
    const slow = breaker.admit();
    breaker.admit();
    expect(breaker.admits).toBe(false);
    vi.advanceTimersByTime(500);
    expect(breaker.wantsProbe).toBe(true);
    if (slow !== null) {
      breaker.settle(slow, 'success', 'internal');
    }
    await replayed();
    expect(state()).toBe('closed');
  });

  it('does not count calls that began before it opened', () => {
    const early = [breaker.admit(), breaker.admit()];
    opened();
    vi.advanceTimersByTime(1_000);
    for (const permit of early) {
      if (permit !== null) {
        breaker.settle(permit, 'success', 'internal');
      }
    }
    expect(state()).toBe('half-open');
  });

  it('lets one call at a time through in panic, whose success closes it', () => {
    opened();
    const permit = breaker.admitInPanic();
    expect(breaker.admitInPanic()).toBeNull();
    if (permit !== null) {
      breaker.settle(permit, 'success', 'internal');
    }
    expect(state()).toBe('closed');
    vi.advanceTimersByTime(10_000);
    expect(state(), 'the reset timer is gone').toBe('closed');
  });

  it('stays open after a failed call in panic, without a longer wait', () => {
    opened();
    const permit = breaker.admitInPanic();
    if (permit !== null) {
      breaker.settle(permit, 'failure', 'connect');
    }
    expect(breaker.view()).toMatchObject({ state: 'open', nextProbeInMs: 1_000, openedBy: 'reset' });
  });

  it('leaves no timer behind', () => {
    opened();
    expect(vi.getTimerCount()).toBe(1);
    breaker.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});
