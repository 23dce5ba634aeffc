import { describe, expect, test } from 'vitest';
import type { Lane } from './lane.ts';
import type { Priority } from './priority.ts';
import { SeededRandom } from './test/seeded-random.ts';
import { type Simulated, simulate, type Traffic } from './test/simulated-app.ts';

const SEED = Number(process.env['GATEHOUSE_SEED'] ?? 20_261_122);
const LIMITS = { callsMin: 4, waitMsMax: 25, lowSharePercent: 50, normalSharePercent: 75 };
const MINUTE_MS = 60_000;
const PLACES = 8;

console.log(`simulated overload: seed ${SEED}`);

/** 40 % of low priority, 50 % normal, 10 % high. */
function mixed(perSecond: number, call: Omit<Traffic, 'priority' | 'perSecond'>): Traffic[] {
  return [
    { ...call, priority: 'low', perSecond: perSecond * 0.4 },
    { ...call, priority: 'normal', perSecond: perSecond * 0.5 },
    { ...call, priority: 'high', perSecond: perSecond * 0.1 },
  ];
}

function goodPerSecond({ tallies }: Simulated, countedMs: number): number {
  return (Object.values(tallies).reduce((sum, { tookMs }) => sum + tookMs.length, 0) / countedMs) * 1000;
}

function quantile(run: Simulated, priority: Priority, share: number): number {
  const sorted = run.tallies[priority].tookMs.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
}

function servedShare({ tallies }: Simulated, priority: Priority): number {
  return tallies[priority].tookMs.length / tallies[priority].offered;
}

function shedTotal(lane: Lane): number {
  return [...lane.shedCounts()].reduce((sum, { total }) => sum + total, 0);
}

describe('at three times what the app can do', () => {
  const random = new SeededRandom(SEED);
  const unary = mixed(240, {
    deadlineMs: 1000,
    firstMs: () => random.exponential(100),
    restMs: () => 0,
  });
  const shared = {
    places: PLACES,
    traffic: unary,
    durationMs: MINUTE_MS,
    warmUpMs: 10_000,
    random: random.uniform,
  };
  const [bare, shedding] = [simulate({ ...shared, limits: null }), simulate({ ...shared, limits: LIMITS })];
  const countedMs = MINUTE_MS - 10_000;

  test('almost nothing is answered in time where nothing is shed', () => {
    expect(goodPerSecond(bare, countedMs)).toBeLessThan(80 * 0.2);
  });

  test('more than 90 % of what it can do is answered in time', () => {
    expect(goodPerSecond(shedding, countedMs)).toBeGreaterThan(80 * 0.9);
  });

  test('low priority is shed first, and high priority hardly at all', () => {
    expect(servedShare(shedding, 'high')).toBeGreaterThan(0.9);
    expect(servedShare(shedding, 'normal')).toBeGreaterThan(0.3);
    expect(servedShare(shedding, 'low')).toBeLessThan(0.1);
  });

  test('high priority keeps its latency within four times of what it is unloaded, where it was ten times and more', () => {
    expect(quantile(shedding, 'high', 0.5)).toBeLessThan(4 * 69);
    expect(quantile(shedding, 'high', 0.99)).toBeLessThan(900);
    expect(quantile(bare, 'high', 0.5)).toBeGreaterThan(10 * 69);
  });

  test('latency does not creep up in half an hour of it', () => {
    const long = { ...shared, durationMs: 30 * MINUTE_MS, warmUpMs: 29 * MINUTE_MS, limits: LIMITS };
    const run = simulate(long);
    expect(quantile(run, 'normal', 0.5)).toBeLessThan(4 * 69);
    expect(goodPerSecond(run, MINUTE_MS)).toBeGreaterThan(80 * 0.9);
  });

  test('streams that hold their places for long are counted by their first message', () => {
    const streams = mixed((PLACES / 5.2) * 3, {
      deadlineMs: 10_000,
      firstMs: () => 200,
      restMs: () => random.exponential(5000),
    });
    const long = { ...shared, traffic: streams, durationMs: 20 * MINUTE_MS, warmUpMs: MINUTE_MS };
    const [without, run] = [simulate({ ...long, limits: null }), simulate({ ...long, limits: LIMITS })];
    expect(goodPerSecond(run, 19 * MINUTE_MS)).toBeGreaterThan((PLACES / 5.2) * 0.85);
    expect(quantile(run, 'high', 0.5)).toBeLessThan(quantile(without, 'high', 0.5) / 4);
    expect(servedShare(run, 'high')).toBeGreaterThan(1.5 * servedShare(without, 'high'));
  });
});

describe('where the app is not overloaded', () => {
  test.each([0.7, 1])('hardly a call is shed for latencies that vary (sigma %s)', (sigma) => {
    const random = new SeededRandom(SEED);
    const capacityPerSecond = 640 / Math.exp(sigma ** 2 / 2);
    const { lane, tallies } = simulate({
      places: 64,
      traffic: mixed(capacityPerSecond * 0.7, {
        deadlineMs: 60_000,
        firstMs: () => random.logNormal(100, sigma),
        restMs: () => 0,
      }),
      durationMs: 10 * MINUTE_MS,
      warmUpMs: 0,
      limits: LIMITS,
      random: random.uniform,
    });
    const offered = tallies.low.offered + tallies.normal.offered + tallies.high.offered;
    expect(shedTotal(lane) / offered).toBeLessThan(0.01);
  });

  test('calls that got slower for good are let through again', () => {
    const random = new SeededRandom(SEED);
    const slowerAtMs = MINUTE_MS;
    const run = simulate({
      places: 64,
      // A third of what it can do, and two thirds once they take twice as long.
      traffic: mixed(210, {
        deadlineMs: 5000,
        firstMs: (nowMs) => random.logNormal(nowMs < slowerAtMs ? 90 : 180, 0.3),
        restMs: () => 0,
      }),
      durationMs: 3 * MINUTE_MS,
      warmUpMs: 2 * MINUTE_MS,
      limits: LIMITS,
      random: random.uniform,
    });
    const { low, normal, high } = run.tallies;
    expect(low.shed + normal.shed + high.shed).toBe(0);
    expect(run.lane.limit).toBeGreaterThan(1000);
  });

  test('what is left of an overload is gone seconds after it', () => {
    const random = new SeededRandom(SEED);
    const call = { deadlineMs: 1000, firstMs: () => 100, restMs: () => 0 };
    const rush = mixed(240, call).map((each) => ({ ...each, untilMs: MINUTE_MS }));
    const run = simulate({
      places: PLACES,
      traffic: [...rush, { ...call, priority: 'low', perSecond: 30 }],
      durationMs: 2 * MINUTE_MS,
      warmUpMs: MINUTE_MS + 5000,
      limits: LIMITS,
      random: random.uniform,
    });
    expect(run.tallies.low.shed).toBe(0);
    expect(run.lane.limit).toBeGreaterThan(1000);
  });
});
