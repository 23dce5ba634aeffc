import { describe, expect, test } from 'vitest';
import { admitted, limitOf, seeded, subjectOf } from '../../test/support/quota-parts.ts';
import { mostWithin, runStreams } from '../../test/support/quota-streams.ts';
import type { QuotaLease, QuotaShortage } from './index.ts';
import { Quotas } from './quotas.ts';

const SHRINK = 2;
const SEED = Number(process.env['GATEHOUSE_QUOTA_SEED'] ?? 4);
const RUNS = Number(process.env['GATEHOUSE_QUOTA_RUNS'] ?? 20);

/** Quotas whose clock is moved by hand. */
function make(options: { accountsMax?: number; outputTokensDefault?: number } = {}) {
  let nowMs = 1_800_000_000_000;
  const quotas = new Quotas({
    clock: () => nowMs,
    accountsMax: 1000,
    outputTokensDefault: 64,
    shared: null,
    ...options,
  });
  const admit = (subject: Parameters<Quotas['admit']>[0]) =>
    quotas.admit(subject) as QuotaLease | QuotaShortage;
  return { quotas, admit, pass: (ms: number) => (nowMs += ms), now: () => nowMs };
}

describe('requests per second', () => {
  test('a burst goes through at once, then one call an interval', () => {
    const { admit, pass } = make();
    const limits = [limitOf({ requests: { perSecond: 10, burst: 3 } })];
    for (let i = 0; i < 3; i++) admitted(admit(subjectOf(limits)));
    expect(admit(subjectOf(limits))).toMatchObject({ number: 'requests-per-second', retryDelayMs: 100 });
    pass(99);
    expect(admit(subjectOf(limits))).toHaveProperty('kind');
    pass(1);
    admitted(admit(subjectOf(limits)));
    expect(admit(subjectOf(limits))).toHaveProperty('kind');
  });

  test('in no second do more calls begin than the rate and the burst together', () => {
    const { admit, pass, now } = make();
    const limits = [limitOf({ requests: { perSecond: 7, burst: 4 } })];
    const random = seeded(SEED);
    const begun: { atMs: number; tokens: number }[] = [];
    for (let i = 0; i < 2000; i++) {
      pass(random() * 150);
      if (!('kind' in admit(subjectOf(limits)))) begun.push({ atMs: now(), tokens: 1 });
    }
    expect(mostWithin(begun, 1000)).toBeLessThanOrEqual(7 + 4);
    expect(begun.length).toBeGreaterThan(500);
  });
});

describe('concurrent calls', () => {
  test('one more than the limit has to wait for one to end', () => {
    const { admit } = make();
    const limits = [limitOf({ concurrentCalls: 2 })];
    const first = admitted(admit(subjectOf(limits)));
    admitted(admit(subjectOf(limits)));
    expect(admit(subjectOf(limits))).toMatchObject({
      number: 'concurrent-calls',
      max: 2,
      retryDelayMs: null,
    });
    first.release(true);
    admitted(admit(subjectOf(limits)));
  });
});

describe('tokens', () => {
  test('are reserved at admission, counted as they are used, and given back when they are not', () => {
    const { admit } = make();
    const limits = [limitOf({ tokensPerMinute: 100n })];
    const lease = admitted(admit(subjectOf(limits, { inputBound: 40, outputLimit: 50 })));
    const second = subjectOf(limits, { outputLimit: 20 });
    expect(admit(second)).toMatchObject({ kind: 'quota-exceeded', number: 'tokens-per-minute', max: 100 });
    // The input had 10 tokens only: 30 go back at once, and 20 are for the next call.
    expect(lease.settle(10, 0)).toBeNull();
    const next = admitted(admit(second));
    expect(lease.settle(10, 25)).toBeNull();
    lease.release(true);
    next.release(false);
    expect(admit(subjectOf(limits, { outputLimit: 66 }))).toHaveProperty('kind');
    admitted(admit(subjectOf(limits, { outputLimit: 65 })));
  });

  test('that a call asks for beyond what is left refuse it, or give it the rest, as the limit says', () => {
    const { admit } = make();
    const refusing = [limitOf({ tokensPerMinute: 100n })];
    const shrinking = [limitOf({ id: 'shrinking', tokensPerMinute: 100n, whenShort: SHRINK })];
    expect(admit(subjectOf(refusing, { outputLimit: 101 }))).toMatchObject({
      retryDelayMs: null,
      wantedTokens: 101,
    });
    const lease = admitted(admit(subjectOf(shrinking, { outputLimit: 101 })));
    expect(lease.settle(0, 100)).toBeNull();
    expect(lease.settle(0, 101)).toMatchObject({ kind: 'quota-exceeded', midway: true });
    lease.release(true);
    expect(admit(subjectOf(shrinking, { outputLimit: 1 }))).toMatchObject({ number: 'tokens-per-minute' });
  });

  test('come back a minute after they were used, as the refusal says', () => {
    const { admit, pass } = make();
    const limits = [limitOf({ tokensPerMinute: 100n })];
    const lease = admitted(admit(subjectOf(limits, { outputLimit: 100 })));
    pass(10_000);
    lease.settle(0, 60);
    pass(10_000);
    lease.settle(0, 100);
    lease.release(true);
    const refused = admit(subjectOf(limits, { outputLimit: 50 }));
    const { retryDelayMs } = refused as Extract<QuotaShortage, { kind: 'quota-exceeded' }>;
    expect(retryDelayMs).toBeGreaterThanOrEqual(50_000);
    expect(retryDelayMs).toBeLessThanOrEqual(51_000);
    pass(retryDelayMs as number);
    admitted(admit(subjectOf(limits, { outputLimit: 50 })));
  });

  test('of a stream that says nothing of its length are taken as it flows, until there are none', () => {
    const { admit } = make({ outputTokensDefault: 10 });
    const limits = [limitOf({ tokensPerMinute: 100n }), limitOf({ id: 'day', tokensPerDay: 80n })];
    const lease = admitted(admit(subjectOf(limits)));
    for (let output = 1; output <= 80; output++) expect(lease.settle(0, output)).toBeNull();
    expect(lease.settle(0, 81)).toMatchObject({ limitId: 'day', number: 'tokens-per-day', midway: true });
  });

  test('of an app that does not tell are those that were reserved, once it has answered', () => {
    const { admit } = make();
    const limits = [limitOf({ tokensPerMinute: 100n })];
    const silent = { tokens: { inputBound: 30, outputLimit: 30, isMetered: false } };
    admitted(admit(subjectOf(limits, silent))).release(false);
    admitted(admit(subjectOf(limits, silent))).release(true);
    expect(admit(subjectOf(limits, silent))).toMatchObject({ kind: 'quota-exceeded' });
    admitted(admit(subjectOf(limits, { outputLimit: 40 })));
  });

  test.each([-5, Number.NEGATIVE_INFINITY, Number.NaN])(
    'no call makes room by asking for %s of them',
    (outputLimit) => {
      const { admit } = make({ outputTokensDefault: 60 });
      const limits = [limitOf({ tokensPerMinute: 100n })];
      admitted(admit(subjectOf(limits, { outputLimit })));
      expect(admit(subjectOf(limits, { outputLimit: 50 }))).toMatchObject({ kind: 'quota-exceeded' });
    },
  );

  test('that an app tells are taken as cumulative: what is less than before changes nothing', () => {
    const { admit } = make();
    const limits = [limitOf({ tokensPerMinute: 100n, whenShort: SHRINK })];
    const lease = admitted(admit(subjectOf(limits, { outputLimit: 100 })));
    lease.settle(20, 50);
    for (const told of [0, -10, Number.NaN, undefined]) expect(lease.settle(told, told)).toBeNull();
    lease.release(true);
    const rest = admitted(admit(subjectOf(limits, { outputLimit: 100 })));
    expect(rest.settle(0, 30)).toBeNull();
    expect(rest.settle(0, 31)).toHaveProperty('kind');
  });
});

describe('accounts', () => {
  const tokens = { tokensPerMinute: 10n };
  const use = (admit: ReturnType<typeof make>['admit'], ...args: Parameters<typeof subjectOf>) => {
    const lease = admitted(admit(subjectOf(args[0], { outputLimit: 10, ...args[1] })));
    lease.settle(0, 10);
    lease.release(true);
  };

  test('are one for each combination of what the limit is counted by', () => {
    const { admit } = make();
    const limits = [limitOf({ per: ['claim:tenant', 'model'], ...tokens })];
    use(admit, limits, { claims: { tenant: 'a' }, model: 'm' });
    use(admit, limits, { claims: { tenant: 'a' }, model: 'n' });
    use(admit, limits, { claims: { tenant: 'b' }, model: 'm' });
    const again = subjectOf(limits, { claims: { tenant: 'a' }, model: 'm', outputLimit: 1 });
    expect(admit(again)).toMatchObject({ subject: 'claim tenant a, model m' });
  });

  test('are shared by all calls that lack the claim, and apart from one whose claim is an empty text', () => {
    const { admit } = make();
    const limits = [limitOf({ per: ['claim:tenant'], ...tokens })];
    use(admit, limits, { claims: null });
    expect(admit(subjectOf(limits, { claims: {} }))).toMatchObject({ subject: 'no claim tenant' });
    use(admit, limits, { claims: { tenant: '' } });
  });

  test.each([{ tenant: null }, { tenant: ['a'] }, { tenant: {} }, { tenant: 'x'.repeat(600) }])(
    'are not given to a claim that is no short text, number or boolean: %j',
    (claims) => {
      const { admit } = make();
      const limits = [limitOf({ per: ['claim:tenant'], ...tokens })];
      expect(admit(subjectOf(limits, { claims }))).toEqual({
        kind: 'quota-claim',
        limitId: 'limit',
        claim: 'tenant',
      });
    },
  );

  test('go on with a new policy under the limit’s id', () => {
    const { admit } = make();
    use(admit, [limitOf({ per: ['identity'], ...tokens })]);
    const changed = [limitOf({ per: ['identity'], tokensPerMinute: 15n })];
    expect(admit(subjectOf(changed, { outputLimit: 6 }))).toHaveProperty('kind');
    admitted(admit(subjectOf(changed, { outputLimit: 5 })));
  });

  test('are bounded, and only those that count nothing any more are forgotten', () => {
    const { admit, pass, quotas } = make({ accountsMax: 10 });
    const limits = [limitOf({ per: ['claim:n'], ...tokens })];
    for (let n = 0; n < 10; n++) use(admit, limits, { claims: { n } });
    const eleventh = subjectOf(limits, { claims: { n: 10 } });
    expect(admit(eleventh)).toMatchObject({ kind: 'quota-accounts-full', max: 10 });
    expect(admit(subjectOf(limits, { claims: { n: 3 } }))).toMatchObject({ kind: 'quota-exceeded' });
    pass(61_000);
    for (let n = 100; n < 1100; n++) {
      pass(1);
      admitted(admit(subjectOf(limits, { claims: { n }, outputLimit: 10 }))).release(false);
    }
    const [view] = quotas.views();
    expect(view?.accounts).toBeLessThanOrEqual(10);
  });
});

test('a call finds room in all of its limits or takes none of any', () => {
  const { admit } = make();
  const open = limitOf({ id: 'open', tokensPerMinute: 100n, requests: { perSecond: 1 }, concurrentCalls: 1 });
  const full = limitOf({ id: 'full', tokensPerMinute: 10n });
  for (let i = 0; i < 5; i++)
    expect(admit(subjectOf([open, full], { outputLimit: 50 }))).toMatchObject({ limitId: 'full' });
  admitted(admit(subjectOf([open], { outputLimit: 100 })));
});

test('a limit of other models does not count the call', () => {
  const { admit } = make();
  const limits = [limitOf({ models: ['large-*'], concurrentCalls: 1 })];
  for (let i = 0; i < 3; i++)
    expect(admitted(admit(subjectOf(limits, { model: 'small-1' }))).touched).toEqual([]);
  expect(admitted(admit(subjectOf(limits, { model: 'large-1' }))).touched).toEqual(['limit']);
  expect(admit(subjectOf(limits, { model: 'large-2' }))).toHaveProperty('kind');
});

describe(`64 streams of one tenant side by side (seed ${SEED}, ${RUNS} schedules each)`, () => {
  test.each(['refuse', 'shrink'] as const)(
    'never get more than the limit in any minute: %s',
    async (short) => {
      for (let round = 0; round < RUNS; round++) {
        const { quotas, admit, pass, now } = make({ outputTokensDefault: 50 });
        const random = seeded(SEED * 1000 + round);
        const max = 500 + Math.floor(random() * 5000);
        const limit = limitOf({ tokensPerMinute: BigInt(max), whenShort: short === 'shrink' ? SHRINK : 1 });
        const result = await runStreams({
          sidecars: [quotas],
          limit,
          random,
          clock: now,
          pause: async () => {
            await Promise.resolve();
            pass(random() * 40);
          },
          streams: 64,
          streamsTotal: 600,
        });
        expect(mostWithin(result.deliveries, 60_000)).toBeLessThanOrEqual(max);
        expect(result.endedMidway + result.refused).toBeGreaterThan(0);
        // Nothing is left over: a minute later all of it is there again.
        pass(61_000);
        admitted(admit(subjectOf([limit], { outputLimit: max }))).release(false);
      }
    },
  );
});
