import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { CompiledLimit } from '../src/policy/limits.ts';
import { connectRedis, type QuotaShortage, Quotas, SharedStore } from '../src/quota/index.ts';
import { admitted, limitOf as anyLimit, seeded, subjectOf } from './support/quota-parts.ts';
import { mostWithin, runStreams } from './support/quota-streams.ts';
import { findRedisServer, type RedisServer, startRedisServer } from './support/redis-server.ts';

const redis = await findRedisServer();
const missing = 'missing' in redis ? redis.missing : '';
if (missing !== '' && process.env['CI'] === 'true') throw new Error(missing);

const SEED = Number(process.env['GATEHOUSE_QUOTA_SEED'] ?? 4);
const RUNS = Number(process.env['GATEHOUSE_QUOTA_RUNS'] ?? 2);
const SHARED = 2;
const SHRINK = 2;
const LOCAL = 2;
const ANSWER_MS_MAX = 300;
const LEASE_MS = 600;
const clock = (): number => performance.timeOrigin + performance.now();

type Sidecar = {
  readonly quotas: Quotas;
  readonly store: SharedStore;
  readonly changes: (string | null)[];
};

describe.skipIf(missing !== '')(`limits that sidecars share${missing && ` (not run: ${missing})`}`, () => {
  let server: RedisServer;
  let sidecars: Sidecar[] = [];
  let testCount = 0;
  beforeAll(async () => {
    server = await startRedisServer((redis as { file: string }).file);
  });
  afterAll(async () => {
    await server.stop();
  });
  beforeEach(() => {
    testCount += 1;
  });
  afterEach(async () => {
    await Promise.all(sidecars.map(({ quotas }) => quotas.close()));
    sidecars = [];
  });

  const start = async (leaseMs = LEASE_MS, outputTokensStep = 64): Promise<Quotas> => {
    const changes: (string | null)[] = [];
    const runner = await connectRedis(
      { address: server.address, database: 0 },
      { answerMsMax: ANSWER_MS_MAX, onChange: (problem) => changes.push(problem) },
    );
    const store = new SharedStore({
      runner,
      keyPrefix: `test-${testCount}`,
      leaseMs,
      outputTokensStep,
      instance: `sidecar-${sidecars.length}`,
      clock,
    });
    const quotas = new Quotas({
      clock,
      accountsMax: 100,
      outputTokensDefault: outputTokensStep,
      shared: store,
    });
    sidecars.push({ quotas, store, changes });
    return quotas;
  };
  const limitOf = (limit: Parameters<typeof anyLimit>[0]): CompiledLimit =>
    anyLimit({ store: SHARED, ...limit });
  const isUp = (): boolean => sidecars.every(({ store }) => store.problem === null);

  test('are counted together: requests, calls in progress and tokens, in all limits of a call or in none', async () => {
    const [one, two] = [await start(), await start()];
    const rate = [limitOf({ id: 'rate', requests: { perSecond: 0.01, burst: 2 } })];
    admitted(await one.admit(subjectOf(rate)));
    admitted(await two.admit(subjectOf(rate)));
    expect(await one.admit(subjectOf(rate))).toMatchObject({
      limitId: 'rate',
      number: 'requests-per-second',
    });

    const calls = limitOf({ id: 'calls', concurrentCalls: 1 });
    const tokens = limitOf({ id: 'tokens', tokensPerMinute: 100n, tokensPerDay: 80n });
    const both = [tokens, calls];
    const first = admitted(await one.admit(subjectOf(both, { outputLimit: 60 })));
    expect(await two.admit(subjectOf(both, { outputLimit: 10 }))).toMatchObject({
      limitId: 'calls',
      number: 'concurrent-calls',
    });
    expect(await two.admit(subjectOf([tokens], { outputLimit: 21 }))).toMatchObject({
      number: 'tokens-per-day',
      max: 80,
      retryDelayMs: null,
    });
    first.settle(0, 30);
    first.release(true);
    await vi.waitFor(async () => {
      const next = admitted(await two.admit(subjectOf(both, { outputLimit: 50 })));
      next.settle(0, 50);
      next.release(true);
    });
    const refused = (await two.admit(subjectOf(both, { outputLimit: 1 }))) as QuotaShortage;
    expect(refused).toMatchObject({ limitId: 'tokens', number: 'tokens-per-day' });
    // Sixty buckets of 24 minutes, and the one that is being filled.
    expect((refused as { retryDelayMs: number }).retryDelayMs).toBeGreaterThan(86_400_000);
    expect((refused as { retryDelayMs: number }).retryDelayMs).toBeLessThanOrEqual(86_400_000 + 1_440_000);
  });

  test('give a stream more as it flows, and end it when there is no more', async () => {
    const quotas = await start();
    const limits = [limitOf({ tokensPerMinute: 1000n, whenShort: SHRINK })];
    const lease = admitted(await quotas.admit(subjectOf(limits)));
    let output = 0;
    let shortage: QuotaShortage | null = null;
    while (shortage === null && output < 1100) {
      output += 1;
      shortage = lease.settle(0, output);
      // Answers come in order: with this one there is the answer to what the stream has asked for.
      if (output % 20 === 0) await quotas.admit(subjectOf([limitOf({ id: 'other', concurrentCalls: 100 })]));
    }
    expect(output).toBe(1001);
    expect(shortage).toMatchObject({ number: 'tokens-per-minute', midway: true, max: 1000 });
    lease.release(true);
  });

  test('know what the last calls of a sidecar used that ends well', async () => {
    const [ending, other] = [await start(60_000), await start(60_000)];
    const limits = [limitOf({ tokensPerMinute: 100n })];
    const lease = admitted(await ending.admit(subjectOf(limits, { outputLimit: 100 })));
    lease.settle(0, 70);
    lease.release(true);
    await ending.close();
    expect(await other.admit(subjectOf(limits, { outputLimit: 31 }))).toHaveProperty('kind');
    admitted(await other.admit(subjectOf(limits, { outputLimit: 30 })));
  });

  test('keep nothing of who calls', async () => {
    const quotas = await start();
    const limits = [limitOf({ per: ['identity', 'claim:tenant'], tokensPerMinute: 100n })];
    const subject = subjectOf(limits, { claims: { tenant: 'acme-corporation' } });
    admitted(await quotas.admit(subject)).settle(0, 1);
    const { createClient } = await import('@redis/client');
    const client = createClient({ socket: { path: server.address.slice(5), tls: false } });
    await client.connect();
    const keys = await client.sendCommand(['KEYS', '*']);
    client.destroy();
    expect(JSON.stringify(keys)).toContain(`{test-${testCount}}:`);
    expect(JSON.stringify(keys)).not.toMatch(/acme|caller/);
  });

  test('take back what a sidecar had that is gone, and keep what it used', async () => {
    const [gone, other] = [await start(), await start()];
    const limits = [limitOf({ tokensPerMinute: 100n, concurrentCalls: 1 })];
    const lease = admitted(await gone.admit(subjectOf(limits, { outputLimit: 100 })));
    lease.settle(0, 40);
    await vi.waitFor(async () => {
      const left = await other.admit(subjectOf([limitOf({ tokensPerMinute: 100n })], { outputLimit: 1 }));
      expect(left).toMatchObject({ number: 'tokens-per-minute' });
    });
    await sleep(LEASE_MS / 5);
    // As after SIGKILL: nothing more is heard of it.
    sidecars[0]?.store.options.runner.close();
    const wanted = subjectOf(limits, { outputLimit: 60 });
    expect(await other.admit(wanted)).toHaveProperty('kind');
    await vi.waitFor(async () => admitted(await other.admit(wanted)), { timeout: 3000, interval: 50 });
    expect(
      await other.admit(subjectOf([limitOf({ tokensPerMinute: 100n })], { outputLimit: 1 })),
    ).toHaveProperty('kind');
  });

  test.each([
    ['that refuses what is short', { whenShort: 1, streamsTotal: 300, areLong: false }],
    ['that gives what is left', { whenShort: SHRINK, streamsTotal: 300, areLong: false }],
    ['that they take as they flow', { whenShort: SHRINK, streamsTotal: 64, areLong: true }],
  ] as const)(
    `never give 64 streams of one tenant more than the limit, over two sidecars: one %s (seed ${SEED})`,
    async (_what, { whenShort, ...streams }) => {
      for (let round = 0; round < RUNS; round++) {
        const pair = [await start(2000, 64), await start(2000, 64)];
        const random = seeded(SEED * 1000 + round);
        const max = 6000 + Math.floor(random() * 3000);
        const result = await runStreams({
          ...streams,
          sidecars: pair,
          limit: limitOf({ id: `round-${round}`, tokensPerMinute: BigInt(max), whenShort }),
          random,
          clock,
          // Slow enough for the store's answers to come while a stream flows.
          pause: () => (random() < 0.2 ? sleep(1) : turn()),
          streams: 64,
        });
        const delivered = mostWithin(result.deliveries, 60_000);
        expect(delivered).toBeLessThanOrEqual(max);
        // A stream that is faster than the store's answers ends early, so how much they get is not said here.
        expect(delivered).toBeGreaterThan(max / 10);
        expect(result.endedMidway + result.refused).toBeGreaterThan(0);
      }
    },
  );

  describe('when the store is gone', () => {
    const refusing = () => [limitOf({ id: 'closed', concurrentCalls: 100 })];
    const local = () => [limitOf({ id: 'open', concurrentCalls: 2, onStoreFailure: LOCAL })];
    afterEach(async () => {
      await server.kill();
      await server.start();
    });

    test('refuse calls, or are counted by each sidecar, as each limit says; and are shared again when it is back', async () => {
      const [one, two] = [await start(), await start()];
      admitted(await one.admit(subjectOf(refusing()))).release(true);
      await server.kill();
      await vi.waitFor(() => expect(one.storeProblem).toMatch(/not connected/));
      expect(await one.admit(subjectOf(refusing()))).toEqual({
        kind: 'quota-store-down',
        limitId: 'closed',
        retryDelayMs: 1000,
      });
      for (const quotas of [one, two]) {
        const leases = [await quotas.admit(subjectOf(local())), await quotas.admit(subjectOf(local()))].map(
          admitted,
        );
        expect(await quotas.admit(subjectOf(local()))).toMatchObject({ number: 'concurrent-calls' });
        for (const lease of leases) lease.release(true);
      }
      expect([...one.views()].find(({ limitId }) => limitId === 'open')).toMatchObject({ countedLocally: 3 });
      await server.start();
      await vi.waitFor(() => expect(isUp()).toBe(true), { timeout: 5000 });
      admitted(await one.admit(subjectOf(local())));
      admitted(await two.admit(subjectOf(local())));
      expect(await one.admit(subjectOf(local()))).toHaveProperty('kind');
      expect(sidecars[0]?.changes).toEqual([null, expect.stringContaining('not connected'), null]);
    });

    test('end the calls that they can no longer count before others may have what was theirs', async () => {
      const quotas = await start();
      const lost: QuotaShortage[] = [];
      const onLost = (shortage: QuotaShortage) => lost.push(shortage);
      admitted(await quotas.admit(subjectOf(refusing(), { onLost })));
      admitted(await quotas.admit(subjectOf(local(), { onLost })));
      const atMs = clock();
      await server.kill();
      await vi.waitFor(() => expect(lost).toHaveLength(1), { timeout: 3000 });
      expect(clock() - atMs).toBeLessThan(LEASE_MS);
      expect(lost).toMatchObject([{ kind: 'quota-store-down', limitId: 'closed' }]);
    });

    test('count what was used in the meantime once it is back', async () => {
      const [one, two] = [await start(10_000), await start(10_000)];
      const limits = [limitOf({ id: 'tokens', tokensPerMinute: 100n })];
      const lease = admitted(await one.admit(subjectOf(limits, { outputLimit: 100 })));
      await server.kill();
      await vi.waitFor(() => expect(one.storeProblem).not.toBeNull());
      expect(lease.settle(0, 70)).toBeNull();
      lease.release(true);
      await server.start();
      await vi.waitFor(() => expect(isUp()).toBe(true), { timeout: 5000 });
      await vi.waitFor(
        async () => {
          const more = await two.admit(subjectOf(limits, { outputLimit: 31 }));
          if (!('kind' in more)) more.release(false);
          expect(more).toHaveProperty('kind');
        },
        { timeout: 5000, interval: 50 },
      );
      admitted(await two.admit(subjectOf(limits, { outputLimit: 30 })));
    });

    test('take up again the calls in progress that it has forgotten', async () => {
      const [one, two] = [await start(1500), await start(1500)];
      const limits = [limitOf({ id: 'calls', concurrentCalls: 1, tokensPerMinute: 100n })];
      admitted(await one.admit(subjectOf(limits, { outputLimit: 100 })));
      await server.kill();
      await server.start();
      await vi.waitFor(() => expect(isUp()).toBe(true), { timeout: 5000 });
      await vi.waitFor(
        async () => {
          const second = await two.admit(subjectOf(limits, { outputLimit: 1 }));
          if (!('kind' in second)) second.release(false);
          expect(second).toMatchObject({ number: 'concurrent-calls' });
        },
        { timeout: 5000, interval: 50 },
      );
    });

    test('wait no longer than they may for one that does not answer, and soon not at all', async () => {
      const quotas = await start(10_000);
      server.pause();
      try {
        const tookMs: number[] = [];
        for (let i = 0; i < 5; i++) {
          const atMs = clock();
          expect(await quotas.admit(subjectOf(refusing()))).toMatchObject({ kind: 'quota-store-down' });
          tookMs.push(clock() - atMs);
        }
        expect(Math.max(...tookMs)).toBeLessThan(ANSWER_MS_MAX * 2);
        expect(Math.max(...tookMs.slice(3))).toBeLessThan(ANSWER_MS_MAX / 3);
        expect(quotas.storeProblem).toContain(`no answer within ${ANSWER_MS_MAX} ms`);
      } finally {
        server.resume();
      }
      await vi.waitFor(() => expect(quotas.storeProblem).toBeNull(), { timeout: 5000 });
      admitted(await quotas.admit(subjectOf(refusing())));
    });
  });
});
