/**
 * What does a limit cost a call? In memory: the time to admit a call, to settle one message of its answer and to release
 * it, beside a call that no limit concerns. In the shared store: the time that admission adds, beside a PING to the same
 * server. The candidates are alternated in short rounds, so that a slow moment of the machine falls on all of them.
 *
 * node sidecar/bench/quota.ts; the second part needs a Redis or Valkey server on the machine, or apt-get.
 */
import { createClient } from '@redis/client';
import type { CompiledLimit } from '../src/policy/limits.ts';
import { connectRedis, type QuotaLease, Quotas, SharedStore } from '../src/quota/index.ts';
import { admitted, limitOf, subjectOf } from '../test/support/quota-parts.ts';
import { findRedisServer, startRedisServer } from '../test/support/redis-server.ts';

const ROUNDS = 40;
const CALLS_PER_ROUND = 10_000;
const IDENTITIES = 100;
const STORE_ROUNDS = 10;
const STORE_CALLS_PER_ROUND = 200;
const MICROSECOND_TARGET = 1;

const clock = (): number => performance.timeOrigin + performance.now();
const byIdentity = { per: ['identity'], tokensPerMinute: 10n ** 14n };
const all = { requests: { perSecond: 1e6, burst: 1e6 }, concurrentCalls: 1e6, tokensPerDay: 10n ** 14n };
const ways: readonly { readonly name: string; readonly limits: readonly CompiledLimit[] }[] = [
  { name: 'no limit', limits: [] },
  { name: 'calls in progress, by identity', limits: [limitOf({ per: ['identity'], concurrentCalls: 1e6 })] },
  { name: 'tokens per minute, by identity', limits: [limitOf(byIdentity)] },
  { name: 'all numbers of a limit, by identity', limits: [limitOf({ ...byIdentity, ...all })] },
  { name: 'all numbers, by tenant and model', limits: [limitOf({ ...all, per: ['claim:tenant', 'model'] })] },
];

/** Time of this process on a CPU, of its garbage collector too: others on the machine don't count. */
function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? 0;
}

function measureMemory(): void {
  const quotas = new Quotas({ clock, accountsMax: 10_000, outputTokensDefault: 256, shared: null });
  const subjects = ways.map(({ limits }) =>
    Array.from({ length: IDENTITIES }, (_, i) =>
      subjectOf(limits, {
        identity: `spiffe://bench.gatehouse/ns/prod/sa/caller-${i}`,
        model: 'smollm2-135m-instruct',
        claims: { tenant: `tenant-${i}` },
        inputBound: 200,
        outputLimit: 100,
      }),
    ),
  );
  const wholeUs = ways.map((): number[] => []);
  const messageUs = ways.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [way] of ways.entries()) {
      const from = cpuUs();
      for (let i = 0; i < CALLS_PER_ROUND; i++) {
        const lease = quotas.admit(subjects[way]?.[i % IDENTITIES] as never) as QuotaLease;
        lease.settle(20, 30);
        lease.release(true);
      }
      wholeUs[way]?.push((cpuUs() - from) / CALLS_PER_ROUND);
      const lease = admitted(quotas.admit(subjects[way]?.[0] as never) as QuotaLease);
      const settledFrom = cpuUs();
      for (let i = 1; i <= CALLS_PER_ROUND; i++) lease.settle(20, i);
      messageUs[way]?.push((cpuUs() - settledFrom) / CALLS_PER_ROUND);
      lease.release(true);
    }
  }
  const none = median(wholeUs[0] ?? []);
  console.log('in memory, per call: admit, settle once, release; and for each further message');
  for (const [way, { name }] of ways.entries()) {
    const us = median(wholeUs[way] ?? []);
    const added = us - none;
    const verdict =
      way === 0 ? '' : added <= MICROSECOND_TARGET ? '  (within 1 µs)' : '  (MISSED: over 1 µs)';
    const perMessage = median(messageUs[way] ?? []);
    console.log(
      `  ${name.padEnd(38)} ${us.toFixed(3)} µs, ${added.toFixed(3)} added; ${perMessage.toFixed(3)} µs a message${verdict}`,
    );
  }
}

async function measureStore(): Promise<void> {
  const found = await findRedisServer();
  if ('missing' in found) {
    console.log(`in the shared store: not measured, ${found.missing}`);
    return;
  }
  const server = await startRedisServer(found.file);
  const runner = await connectRedis(
    { address: server.address, database: 0 },
    { answerMsMax: 5000, onChange: () => {} },
  );
  const store = new SharedStore({
    runner,
    keyPrefix: 'bench',
    leaseMs: 10_000,
    outputTokensStep: 256,
    instance: 'bench',
    clock,
  });
  const quotas = new Quotas({ clock, accountsMax: 10_000, outputTokensDefault: 256, shared: store });
  const client = createClient({ socket: { path: server.address.slice('unix:'.length), tls: false } });
  await client.connect();
  const SHARED = 2;
  const one = [limitOf({ ...byIdentity, ...all, store: SHARED })];
  const three = [...one, ...['b', 'c'].map((id) => limitOf({ ...byIdentity, ...all, id, store: SHARED }))];
  const call = async (limits: readonly CompiledLimit[]): Promise<void> => {
    const lease = admitted(await quotas.admit(subjectOf(limits, { outputLimit: 100 })));
    lease.settle(20, 30);
    lease.release(true);
  };
  const candidates = [
    { name: 'PING', ask: async () => void (await client.ping()) },
    { name: 'one limit, all its numbers', ask: () => call(one) },
    { name: 'three limits at once', ask: () => call(three) },
  ];
  const tookUs = candidates.map((): number[] => []);
  for (let round = 0; round < STORE_ROUNDS; round++) {
    for (const [index, { ask }] of candidates.entries()) {
      for (let i = 0; i < STORE_CALLS_PER_ROUND; i++) {
        const from = clock();
        await ask();
        if (round > 0) tookUs[index]?.push((clock() - from) * 1000);
      }
    }
  }
  const ping = median(tookUs[0] ?? []);
  console.log('in the shared store (on this machine, one call after the other), added to each call:');
  for (const [index, { name }] of candidates.entries()) {
    const values = tookUs[index] ?? [];
    console.log(
      `  ${name.padEnd(38)} p50 ${median(values).toFixed(0)} µs, p99 ${quantile(values, 0.99).toFixed(0)} µs, ${(median(values) / ping).toFixed(1)} × PING`,
    );
  }
  const FLIGHT = 64;
  const from = clock();
  await Promise.all(
    Array.from({ length: FLIGHT }, async () => {
      for (let i = 0; i < 100; i++) await call(one);
    }),
  );
  const perSecond = (FLIGHT * 100 * 1000) / (clock() - from);
  console.log(`  ${'64 calls at a time'.padEnd(38)} ${Math.round(perSecond)} calls a second`);
  client.destroy();
  await quotas.close();
  await server.stop();
}

measureMemory();
await measureStore();
