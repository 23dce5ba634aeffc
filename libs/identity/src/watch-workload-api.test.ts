import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type GivenIdentity, startWorkloadApi, type WorkloadApiServer } from '../test/workload-api-server.ts';
import { type Authority, createAuthority } from './authority.ts';
import type { IdentityProblem } from './identity.ts';
import type { IdentitySource } from './identity-source.ts';
import { type WorkloadApiOptions, watchWorkloadApi } from './watch-workload-api.ts';

const HOUR_MS = 3_600_000;
const TRUST_DOMAIN = 'gatehouse.local';
const ID = 'spiffe://gatehouse.local/ns/local/sa/inference';
const OTHER_ID = 'spiffe://gatehouse.local/ns/local/sa/other';
const WAIT = { timeout: 5_000, interval: 5 };
const clock = () => Date.now();

let authority: Authority;
let folder: string;
let socketPath: string;
let agent: WorkloadApiServer;
let source: IdentitySource | undefined;
let problems: IdentityProblem[];

beforeAll(async () => {
  authority = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: HOUR_MS });
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gh-wl-'));
  socketPath = join(folder, 'agent.sock');
  agent = await startWorkloadApi(socketPath);
  problems = [];
});
afterEach(async () => {
  source?.close();
  source = undefined;
  await agent.stop();
  await rm(folder, { recursive: true });
});

async function identity(
  options: { spiffeId?: string; from?: Authority; bundlePem?: string; validForMs?: number } = {},
): Promise<GivenIdentity> {
  const { spiffeId = ID, from = authority, bundlePem = from.bundlePem, validForMs = HOUR_MS } = options;
  return { spiffeId, bundlePem, credentials: await from.issue({ spiffeId, validForMs }) };
}

const watching = (options: Partial<WorkloadApiOptions> = {}) =>
  watchWorkloadApi({
    address: `unix:${socketPath}`,
    trustDomain: TRUST_DOMAIN,
    clock,
    random: Math.random,
    backoffMs: 10,
    backoffMsMax: 50,
    firstMsMax: 5_000,
    onError: (problem) => problems.push(problem),
    ...options,
  });

async function started(options: Partial<WorkloadApiOptions> = {}): Promise<IdentitySource> {
  const result = await watching(options);
  if ('problem' in result) throw new Error(result.problem.detail);
  source = result.source;
  return result.source;
}

describe('watchWorkloadApi', () => {
  it('asks as the specification has it, and takes the first identity', async () => {
    agent.give([await identity(), await identity({ spiffeId: OTHER_ID })]);
    const { current, problem } = await started();
    expect(current()).toMatchObject({ spiffeId: ID, trustDomain: TRUST_DOMAIN, generation: 1 });
    expect(current().bundle.anchors).toHaveLength(1);
    expect(problem()).toBeNull();
    expect(agent.metadata.map((each) => each.get('workload.spiffe.io'))).toEqual([['true']]);
  });

  it('takes the identity that is asked for, with its intermediates', async () => {
    const below = await createAuthority({
      trustDomain: TRUST_DOMAIN,
      clock,
      validForMs: HOUR_MS,
      parent: authority,
    });
    agent.give([await identity(), await identity({ spiffeId: OTHER_ID, from: below })]);
    const { current } = await started({ spiffeId: OTHER_ID });
    expect(current().spiffeId).toBe(OTHER_ID);
    expect(current().certificatePem.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
  });

  it('follows rotation and a bundle that changes, and tells its subscribers', async () => {
    agent.give([await identity()]);
    const watched = await started();
    const seen: number[] = [];
    watched.subscribe(({ generation }) => seen.push(generation));
    const next = await identity();
    agent.give([next]);
    await expect.poll(() => watched.current().generation, WAIT).toBe(2);
    const newer = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: HOUR_MS });
    agent.give([{ ...next, bundlePem: authority.bundlePem + newer.bundlePem }]);
    await expect.poll(() => watched.current().bundle.anchors.length, WAIT).toBe(2);
    // The same again is no change.
    agent.give([{ ...next, bundlePem: authority.bundlePem + newer.bundlePem }]);
    agent.give([await identity({ from: newer })]);
    await expect.poll(() => watched.current().generation, WAIT).toBe(4);
    expect(seen).toEqual([2, 3, 4]);
    expect(problems).toEqual([]);
  });

  it('has the bundles of federated trust domains apart, and lets them go', async () => {
    const partner = await createAuthority({ trustDomain: 'partner.example', clock, validForMs: HOUR_MS });
    const given = await identity();
    agent.give([given], { 'spiffe://partner.example': partner.bundlePem });
    const watched = await started();
    expect([...watched.current().federated.keys()]).toEqual(['partner.example']);
    expect(watched.current().bundle.anchors).toHaveLength(1);
    agent.give([given]);
    await expect.poll(() => watched.current().federated.size, WAIT).toBe(0);
  });

  it('keeps its identity while the agent is away, and goes on when it is back', async () => {
    agent.give([await identity()]);
    const watched = await started();
    const before = watched.current();
    await agent.stop();
    await expect.poll(() => watched.problem()?.code, WAIT).toBe('WORKLOAD_API_FAILED');
    expect(watched.current()).toBe(before);
    agent = await startWorkloadApi(socketPath);
    agent.give([await identity()]);
    await expect.poll(() => watched.current().generation, WAIT).toBe(2);
    expect(watched.problem()).toBeNull();
  });

  it('keeps its identity when the agent gives it none any more, says so, and asks again', async () => {
    agent.give([await identity()]);
    const watched = await started();
    agent.give(null);
    await expect.poll(() => watched.problem()?.detail, WAIT).toMatch(/7: no identity issued$/);
    expect(watched.current().generation).toBe(1);
    agent.give([await identity()]);
    await expect.poll(() => watched.current().generation, WAIT).toBe(2);
  });

  it('waits at its start for an agent that comes, and for an identity that comes', async () => {
    await agent.stop();
    const result = started();
    agent = await startWorkloadApi(socketPath);
    await expect.poll(() => agent.metadata.length, WAIT).toBeGreaterThan(1);
    agent.give([await identity()]);
    expect((await result).current().spiffeId).toBe(ID);
  });

  it.each<[string, () => Promise<GivenIdentity[]>, string, string]>([
    ['no identity', async () => [], 'WORKLOAD_API_FAILED', 'is not among those it gives (none)'],
    ['another trust domain', foreign, 'CERTIFICATE_INVALID', 'trust domain other.local'],
    ['an expired identity', async () => [await identity({ validForMs: -1_000 })], 'EXPIRED', 'ended at'],
    ['another CA’s bundle', strangerBundle, 'NOT_IN_BUNDLE', 'no CA of the bundle'],
  ])('does not start with %s, and keeps the good one when it comes later', async (_, bad, code, detail) => {
    agent.give(await bad());
    expect(await watching({ firstMsMax: 100 })).toMatchObject({
      problem: { code, detail: expect.stringContaining(detail) },
    });
    await expect.poll(() => agent.streams(), WAIT).toBe(0);
    agent.give([await identity()]);
    const watched = await started();
    agent.give(await bad());
    await expect.poll(() => problems.at(-1)?.code, WAIT).toBe(code);
    expect(watched.current().generation).toBe(1);
  });

  it('survives what is no certificate at all', async () => {
    agent.give([await identity()]);
    const watched = await started();
    const junk = { spiffeId: ID, x509Svid: Buffer.from('junk'), x509SvidKey: Buffer.alloc(0), hint: '' };
    agent.giveRaw({ svids: [{ ...junk, bundle: Buffer.from([0x30, 0x82]) }], crl: [], federatedBundles: {} });
    await expect.poll(() => problems.at(-1)?.detail, WAIT).toMatch(/expected a certificate in DER$/);
    expect(watched.current().generation).toBe(1);
  });

  it('says at the end of its time that nobody is there', async () => {
    await agent.stop();
    const result = await watching({ firstMsMax: 50 });
    expect(result).toMatchObject({ problem: { code: 'WORKLOAD_API_FAILED' } });
  });

  it('ends its stream when it is closed', async () => {
    agent.give([await identity()]);
    const watched = await started();
    await expect.poll(() => agent.streams(), WAIT).toBe(1);
    watched.close();
    await expect.poll(() => agent.streams(), WAIT).toBe(0);
    expect(problems).toEqual([]);
  });
});

async function foreign(): Promise<GivenIdentity[]> {
  const from = await createAuthority({ trustDomain: 'other.local', clock, validForMs: HOUR_MS });
  return [await identity({ spiffeId: 'spiffe://other.local/sa/a', from })];
}

async function strangerBundle(): Promise<GivenIdentity[]> {
  const stranger = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: HOUR_MS });
  return [await identity({ bundlePem: stranger.bundlePem })];
}
