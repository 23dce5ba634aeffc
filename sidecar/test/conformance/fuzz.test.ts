/** Differential fuzzing against node:http2. A longer run: `node sidecar/test/conformance/fuzz/main.ts --seconds N`. */
import { describe, expect, test } from 'vitest';
import { Talker } from './fuzz/conversation.ts';
import { fuzz, type Role } from './fuzz/differential.ts';
import { disagreement } from './fuzz/judge.ts';
import { Answerer } from './fuzz/responses.ts';
import type { Outcome } from './fuzz/subjects.ts';
import { Random } from './support/random.ts';

const CONVERSATIONS = 100_000;
const TIME_MS_MAX = 240_000;
/**
 * One seed for every run, so that a run that turns red is red because of the change. Fresh seeds are for the long run; a
 * seed that finds something becomes a regression case.
 */
const seed = Number(process.env['GATEHOUSE_FUZZ_SEED'] ?? 20_261_122);

describe('told the same', () => {
  // One server's time goes into requests that it must see; a client's into asking first.
  test.each<[Role, number]>([
    ['server', CONVERSATIONS],
    ['client', CONVERSATIONS / 8],
  ])(
    `our %s and that of node:http2 take %i conversations for the same (seed ${seed})`,
    async (role, count) => {
      process.stderr.write(`fuzz: ${role}, seed ${seed}\n`);
      const report = await fuzz({ role, seed, goesOn: (conversations) => conversations < count });
      expect(report.findings).toEqual([]);
      expect(report.conversations).toBeGreaterThanOrEqual(count);
      // Most conversations must be understood, and many must not be, or nothing is compared.
      expect(report.connectionErrors).toBeGreaterThan(count / 10);
      expect(report.connectionErrors).toBeLessThan(count / 2);
    },
    TIME_MS_MAX,
  );
});

test.each([
  ['client', Talker],
  ['server', Answerer],
])('a seed gives the same conversations of a %s again', (_side, Speaker) => {
  const [one, other] = [new Speaker(new Random(7)), new Speaker(new Random(7))];
  for (let i = 0; i < 50; i++) expect(one.next()).toEqual(other.next());
});

describe('the judge calls it different when', () => {
  const conversation = { chunks: [], fromId: 1, toId: 3, moves: ['request'] };
  const outcome = (more: Partial<Outcome>): Outcome => ({
    seen: new Map(),
    resets: new Map(),
    connectionError: null,
    violations: [],
    ...more,
  });
  const seen = (more = {}) => {
    const request = { fields: ':authority: x\n', body: 'b', trailers: '', complete: true, ...more };
    return outcome({ seen: new Map([[1, request]]) });
  };

  test.each<[string, Outcome, Outcome]>([
    ['one alone ends the connection', outcome({ connectionError: 1 }), seen()],
    ['the other alone ends the connection', seen(), outcome({ connectionError: 1 })],
    ['one alone resets the stream', outcome({ resets: new Map([[1, 1]]) }), seen()],
    ['the other alone resets the stream', seen(), outcome({ resets: new Map([[1, 1]]) })],
    ['one alone sees the request', seen(), outcome({})],
    ['one alone sees its end', seen(), seen({ complete: false })],
    ['the fields differ', seen({ fields: ':authority: y\n' }), seen()],
    ['the bodies differ', seen({ body: 'c' }), seen()],
    ['the trailers differ', seen({ trailers: 'a: b\n' }), seen()],
  ])('%s', (_when, ours, oracle) => {
    expect(disagreement(conversation, ours, oracle)).not.toBe('');
    expect(disagreement(conversation, ours, ours)).toBe('');
  });
});
