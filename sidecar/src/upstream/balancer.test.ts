import { describe, expect, it } from 'vitest';
import type { Candidate } from './balancer.ts';
import { choose } from './balancer.ts';
import { LoadEstimate } from './load-estimate.ts';

/** A fixed sequence of numbers from 0 to below 1 (mulberry32), so that a run can be repeated. */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Fake = Candidate & { readonly name: string; readonly load: LoadEstimate };

function endpoint(name: string, state: Partial<Candidate> = {}): Fake {
  const load = new LoadEstimate();
  return { name, load, admits: true, wantsProbe: false, cost: (nowMs) => load.cost(nowMs), ...state };
}

function shares(
  endpoints: readonly Fake[],
  calls: number,
  onChosen?: (chosen: Fake) => void,
): Record<string, number> {
  const random = sequence(1);
  const counts: Record<string, number> = Object.fromEntries(endpoints.map(({ name }) => [name, 0]));
  for (let call = 0; call < calls; call += 1) {
    const chosen = choose(endpoints, { nowMs: call, random });
    if (chosen !== null) {
      counts[chosen.name] = (counts[chosen.name] ?? 0) + 1;
      onChosen?.(chosen);
    }
  }
  return counts;
}

describe('choose', () => {
  it('spreads calls evenly over equal endpoints', () => {
    const counts = Object.values(shares([endpoint('a'), endpoint('b'), endpoint('c'), endpoint('d')], 4_000));
    expect(Math.min(...counts)).toBeGreaterThan(900);
    expect(Math.max(...counts)).toBeLessThan(1_100);
  });

  it('levels calls in progress that do not end', () => {
    const counts = Object.values(
      shares([endpoint('a'), endpoint('b'), endpoint('c')], 300, ({ load }) => load.begin()),
    );
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(6);
  });

  it('never chooses the busier of two', () => {
    const busy = endpoint('busy');
    busy.load.begin();
    expect(shares([endpoint('free'), busy], 100)).toEqual({ free: 100, busy: 0 });
  });

  it('prefers the faster endpoint', () => {
    const counts = shares(
      [endpoint('fast'), endpoint('slow'), endpoint('slower')],
      1_000,
      ({ name, load }) => {
        load.observe(true, name === 'fast' ? 5 : 50, 1);
      },
    );
    expect(counts['fast']).toBeGreaterThan(600);
  });

  it('is not attracted by an endpoint that fails fast', () => {
    const counts = shares(
      [endpoint('broken'), endpoint('slow'), endpoint('slower')],
      1_000,
      ({ name, load }) => {
        load.observe(name !== 'broken', name === 'broken' ? 1 : 2_000, 1);
      },
    );
    expect(counts['broken']).toBeLessThan(20);
  });

  it('comes back to an endpoint that failed some time ago', () => {
    const [failed, other] = [endpoint('failed'), endpoint('other')];
    failed.load.observe(false, 1, 1);
    other.load.observe(true, 1_000, 60_000);
    expect(choose([failed, other], { nowMs: 60_000, random: sequence(1) })).toBe(failed);
  });

  it('skips endpoints whose breakers are open, and gives none when all are', () => {
    const open = endpoint('open', { admits: false });
    expect(shares([open, endpoint('b'), endpoint('c')], 100)['open']).toBe(0);
    expect(choose([open, open], { nowMs: 0, random: sequence(1) })).toBeNull();
    expect(choose([open], { nowMs: 0, random: sequence(1) })).toBeNull();
  });

  it('gives a half-open endpoint its probe although it looks expensive', () => {
    const probed = endpoint('probed', { wantsProbe: true });
    probed.load.observe(false, 1, 1);
    expect(choose([endpoint('a'), probed], { nowMs: 2, random: sequence(1) })).toBe(probed);
  });

  it('avoids the endpoint that has just failed the call, unless it is the only one', () => {
    const [failed, other] = [endpoint('failed'), endpoint('other')];
    other.load.begin();
    const at = { nowMs: 0, random: sequence(1) };
    expect(choose([failed, other], at, failed)).toBe(other);
    expect(choose([failed, endpoint('open', { admits: false })], at, failed)).toBe(failed);
    expect(choose([failed], at, failed)).toBe(failed);
  });

  it('considers every pair of endpoints', () => {
    const counts = shares(
      Array.from({ length: 10 }, (_, index) => endpoint(String(index))),
      10_000,
    );
    expect(Math.min(...Object.values(counts))).toBeGreaterThan(800);
  });
});

describe('LoadEstimate', () => {
  it('shuns an endpoint that fails, and makes it cheap again within seconds when it is left alone', () => {
    const load = new LoadEstimate();
    for (let call = 0; call < 10; call++) load.observe(false, 1, 1_000);
    expect(load.latency(1_000)).toBeGreaterThan(20_000);
    expect(load.latency(1_000 + 15_000)).toBeLessThan(1);
  });

  it('remembers a slow endpoint for longer than a failed one', () => {
    const slow = new LoadEstimate();
    slow.observe(true, 1_000, 1_000);
    expect(slow.latency(1_000 + 10_000)).toBeCloseTo(500);
  });
});
