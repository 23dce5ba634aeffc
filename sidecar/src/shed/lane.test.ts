import { array, assert, constantFrom, integer, property, record } from 'fast-check';
import { expect, test } from 'vitest';
import { Lane, type Shed, type ShedLimits } from './lane.ts';
import { PRIORITIES, type Priority } from './priority.ts';

const LIMITS: ShedLimits = { callsMin: 4, waitMsMax: 10, lowSharePercent: 50, normalSharePercent: 75 };
const CALLS_MAX = 1000;
const SEED = 20_261_122;
const NEVER_LATE = 1e9;

/** Answers every call after `tookMs` with `inFlight` others at the app, until a window has been measured. */
function measure(
  lane: Lane,
  { tookMs, inFlight, nowMs }: { tookMs: number; inFlight: number; nowMs: number },
): number {
  let entered = 0;
  while (entered < inFlight && enter(lane, 'high', nowMs) === null) entered += 1;
  for (let call = 0; call < 25; call++) lane.measured(tookMs, nowMs, inFlight);
  const closedAtMs = nowMs + Math.max(100, tookMs);
  for (let call = 0; call < entered; call++) lane.leave();
  if (enter(lane, 'high', closedAtMs) === null) lane.leave();
  return closedAtMs;
}

function enter(lane: Lane, priority: Priority, nowMs: number, remainingMs = NEVER_LATE): Shed | null {
  return lane.enter({ priority, remainingMs, nowMs });
}

/** A lane that has learnt 100 ms and then been slow until it limits. */
function limitingLane(): { lane: Lane; nowMs: number } {
  const lane = new Lane(LIMITS, CALLS_MAX, 0);
  let nowMs = measure(lane, { tookMs: 100, inFlight: 4, nowMs: 0 });
  for (let round = 0; round < 5; round++) nowMs = measure(lane, { tookMs: 400, inFlight: 40, nowMs });
  return { lane, nowMs };
}

test('as many calls as are allowed at all go through while nothing has been measured', () => {
  const lane = new Lane(LIMITS, CALLS_MAX, 0);
  for (let call = 0; call < CALLS_MAX; call++) expect(enter(lane, 'low', 0)).toBeNull();
  expect(lane).toMatchObject({
    inFlight: CALLS_MAX,
    limit: CALLS_MAX,
    unloadedMs: null,
    asksPriority: false,
  });
});

test('one slow window is no evidence, several are', () => {
  const lane = new Lane(LIMITS, CALLS_MAX, 0);
  let nowMs = measure(lane, { tookMs: 100, inFlight: 4, nowMs: 0 });
  nowMs = measure(lane, { tookMs: 200, inFlight: 40, nowMs });
  expect(lane.limit).toBe(CALLS_MAX);
  for (let round = 0; round < 3; round++) nowMs = measure(lane, { tookMs: 200, inFlight: 40, nowMs });
  expect(lane.limit).toBeLessThan(40);
});

test('slow calls are no evidence while few are in flight: that is how long they take', () => {
  const lane = new Lane(LIMITS, CALLS_MAX, 0);
  let nowMs = measure(lane, { tookMs: 100, inFlight: 8, nowMs: 0 });
  for (let round = 0; round < 60; round++) nowMs = measure(lane, { tookMs: 1000, inFlight: 8, nowMs });
  expect(lane.limit).toBe(CALLS_MAX);
  expect(lane.unloadedMs).toBeGreaterThan(900);
});

test('low priority is turned away first, then normal, and high last, each with its bound and when to come again', () => {
  const { lane, nowMs } = limitingLane();
  const { limit } = lane;
  const filledBy = (priority: Priority): Shed => {
    for (;;) {
      const shed = enter(lane, priority, nowMs);
      if (shed !== null) return shed;
    }
  };
  for (const [priority, share] of [
    ['low', 0.5],
    ['normal', 0.75],
    ['high', 1],
  ] as const) {
    const shed = filledBy(priority);
    expect(shed).toMatchObject({ reason: 'concurrency', priority, retryDelayMs: 400 });
    expect(Math.abs(lane.inFlight - limit * share)).toBeLessThan(2);
    expect(Math.abs(shed.bound - limit * share)).toBeLessThan(2);
  }
  expect([...lane.shedCounts()].filter(({ total }) => total > 0)).toHaveLength(3);
});

test('the priority is asked for only where it decides', () => {
  const { lane, nowMs } = limitingLane();
  expect(lane.asksPriority).toBe(false);
  while (enter(lane, 'low', nowMs) === null);
  expect(lane.asksPriority).toBe(true);
});

test('a call that has less time left than nine of ten take is turned away, and one with more is not', () => {
  const lane = new Lane(LIMITS, CALLS_MAX, 0);
  const nowMs = measure(lane, { tookMs: 500, inFlight: 4, nowMs: 0 });
  for (let call = 0; call < 4; call++) expect(enter(lane, 'normal', nowMs, 1)).toBeNull();
  expect(enter(lane, 'high', nowMs, 200)).toEqual({
    reason: 'deadline',
    priority: 'high',
    bound: 500,
    retryDelayMs: 300,
  });
  expect(enter(lane, 'low', nowMs, 501)).toBeNull();
  // What was measured long ago turns nobody away.
  expect(enter(lane, 'low', nowMs + 31_000, 200)).toBeNull();
});

test.each(PRIORITIES)(
  'a call of %s priority always goes through with fewer than callsMin in flight',
  (priority) => {
    const step = record({
      what: constantFrom('enter', 'leave', 'measured'),
      tookMs: integer({ min: 0, max: 5000 }),
      passedMs: integer({ min: 0, max: 300 }),
      remainingMs: integer({ min: -10, max: 2000 }),
      other: constantFrom(...PRIORITIES),
    });
    assert(
      property(array(step, { maxLength: 300 }), (steps) => {
        const lane = new Lane(LIMITS, 50, 0);
        let nowMs = 0;
        for (const { what, tookMs, passedMs, remainingMs, other } of steps) {
          nowMs += passedMs;
          if (what === 'measured')
            for (let i = 0; i < 10; i++) lane.measured(tookMs, nowMs, lane.inFlight + 20);
          else if (what === 'leave' && lane.inFlight > 0) lane.leave();
          else if (what === 'enter') enter(lane, other, nowMs, remainingMs);
          if (lane.inFlight >= LIMITS.callsMin) continue;
          expect(enter(lane, priority, nowMs, remainingMs)).toBeNull();
          lane.leave();
        }
      }),
      { seed: SEED, numRuns: 200 },
    );
  },
);
