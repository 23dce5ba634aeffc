/** The short form; the long one: `node sidecar/test/zero-downtime/main.ts`. */
import { beforeAll, describe, expect, test } from 'vitest';
import { play, type Report } from './play.ts';
import { SCENARIOS } from './scenarios.ts';

const RATES = { unary: 20, repeatable: 20, serverStream: 4 };
const HOLD_MS = 200;
/** Of the calls of both kinds in flight on one of two endpoints, and of those that reach it until it is known to be gone. */
const EXCUSED_MAX = 120;

const PLAY_MS_MAX = 240_000;

describe('under constant load', () => {
  let reports: readonly Report[] = [];
  const of = (name: string): Report => reports.find((report) => report.name === name) as Report;

  beforeAll(async () => {
    reports = await play(SCENARIOS, { rates: RATES, holdMs: HOLD_MS, onReport: () => {} });
  }, PLAY_MS_MAX);

  test.each(SCENARIOS.filter(({ planned }) => planned))('$name: no call fails', ({ name }) => {
    expect(of(name).lost).toEqual([]);
    expect(of(name).calls).toBeGreaterThan(10);
  });

  test.each(SCENARIOS.filter(({ planned }) => !planned))(
    '$name: only calls in flight on it fail, and none begun after the mesh has had its time to react',
    ({ name }) => {
      expect(of(name).lost).toEqual([]);
      expect(of(name).calls).toBeGreaterThan(10);
      expect(of(name).excused.length).toBeLessThan(EXCUSED_MAX);
    },
  );
});
