import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MINUTE_MS, TokenWindow } from './token-window.ts';

const START_MS = 1_800_000_000_123;

test('what was added counts for the whole window and for at most a sixtieth more', () => {
  const steps = fc.array(
    fc.record({ afterMs: fc.integer({ min: 0, max: 20_000 }), tokens: fc.integer({ min: 1, max: 50 }) }),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(steps, (added) => {
      const window = new TokenWindow(MINUTE_MS);
      const log: { atMs: number; tokens: number }[] = [];
      let nowMs = START_MS;
      const within = (ms: number) =>
        log.filter(({ atMs }) => nowMs - atMs < ms).reduce((sum, { tokens }) => sum + tokens, 0);
      for (const { afterMs, tokens } of added) {
        nowMs += afterMs;
        expect(window.total(nowMs)).toBeGreaterThanOrEqual(within(MINUTE_MS));
        expect(window.total(nowMs)).toBeLessThanOrEqual(within(MINUTE_MS + 1000));
        window.add(nowMs, tokens);
        log.push({ atMs: nowMs, tokens });
      }
    }),
    { seed: 4 },
  );
});

describe('when tokens come back', () => {
  test('is the moment at which as many have stopped counting, not before', () => {
    const window = new TokenWindow(MINUTE_MS);
    window.add(START_MS, 10);
    window.add(START_MS + 5_000, 20);
    const nowMs = START_MS + 6_000;
    for (const tokens of [1, 10, 11, 30]) {
      const atMs = window.freeAtMs(nowMs, tokens) ?? Number.NaN;
      const copy = new TokenWindow(MINUTE_MS);
      copy.add(START_MS, 10);
      copy.add(START_MS + 5_000, 20);
      expect(copy.total(atMs - 1)).toBeGreaterThan(30 - tokens);
      expect(copy.total(atMs)).toBeLessThanOrEqual(30 - tokens);
    }
  });

  test('is never for more than were counted', () => {
    const window = new TokenWindow(MINUTE_MS);
    expect(window.freeAtMs(START_MS, 1)).toBeNull();
    window.add(START_MS, 10);
    expect(window.freeAtMs(START_MS, 11)).toBeNull();
  });
});

test('a clock that goes back makes nothing stop counting', () => {
  const window = new TokenWindow(MINUTE_MS);
  window.add(START_MS, 10);
  window.add(START_MS - 600_000, 5);
  expect(window.total(START_MS - 600_000)).toBe(15);
  expect(window.total(START_MS + MINUTE_MS - 1)).toBe(15);
  expect(window.total(START_MS + MINUTE_MS + 1000)).toBe(0);
});
