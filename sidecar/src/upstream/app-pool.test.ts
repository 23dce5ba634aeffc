import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defaultSettings } from '../http2/index.ts';
import type { AppPool } from './app-pool.ts';
import { callerHash, createAppPool } from './app-pool.ts';
import type { Ending, Peer, PeerOptions, Way } from './test/peer.ts';
import { call, clock, startPeer } from './test/peer.ts';

const WAIT = { timeout: 5_000, interval: 5 };
const answered = { kind: 'answered', text: 'answer' };
const releases: (() => unknown)[] = [];
let directory: string;
let address: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'gh-app-'));
  address = `unix:${join(directory, 'app.sock')}`;
  releases.push(() => rm(directory, { recursive: true }));
});

afterEach(async () => {
  for (const release of releases.splice(0).reverse()) {
    await release();
  }
});

async function app(options: PeerOptions = {}): Promise<Peer> {
  const started = await startPeer(null, { address, ...options });
  releases.push(() => started.close());
  return started;
}

function poolTo(at: string, parts: Partial<Parameters<typeof createAppPool>[0]> = {}): AppPool {
  const pool = createAppPool({
    address: at,
    connectionsMax: 4,
    settings: defaultSettings,
    clock,
    random: Math.random,
    ...parts,
  });
  releases.push(() => pool.close());
  return pool;
}

const as = (pool: AppPool, identity: string): Way => ({
  openStream: (handler) => pool.openStream(callerHash(identity), handler),
  ready: (timeoutMs) => pool.ready(callerHash(identity), timeoutMs),
});
const caller = (index: number) => `spiffe://gatehouse.local/ns/local/sa/caller-${index}`;
const problemOf = (ending: Ending) => (ending.kind === 'problem' ? ending.problem : ending);

describe('the connections to the app', () => {
  it('are few, and shared by many callers', async () => {
    const serving = await app();
    serving.answerAll();
    const pool = poolTo(address);
    const endings = await Promise.all(
      Array.from({ length: 100 }, (_, index) => call(as(pool, caller(index)))),
    );
    expect(endings).toEqual(Array(100).fill(answered));
    expect(serving.accepted()).toBe(4);
    expect(pool.view()).toEqual({ address, connections: 4, streamsActive: 0 });
  });

  it('are the same one for the same caller', async () => {
    const serving = await app();
    serving.answerAll();
    const pool = poolTo(address);
    for (let count = 0; count < 10; count += 1) {
      await call(as(pool, caller(1)));
    }
    expect(serving.accepted()).toBe(1);
  });

  it('do not share fate: a GOAWAY on one leaves callers on the others alone', async () => {
    const serving = await app();
    const pool = poolTo(address);
    const calls = [0, 1, 2, 3, 4, 5, 6, 7].map((index) => call(as(pool, caller(index))));
    await expect.poll(() => serving.open.length, WAIT).toBe(8);
    const victim = serving.open[0]?.session;
    const hit = serving.open.filter(({ session }) => session === victim).length;
    victim?.destroy();
    serving.answerAll();
    const endings = await Promise.all(calls);
    expect(endings.filter(({ kind }) => kind === 'reset')).toHaveLength(hit);
    expect(endings.filter(({ kind }) => kind === 'answered')).toHaveLength(8 - hit);
    expect(hit).toBeLessThan(8);
  });

  it('work over loopback as well', async () => {
    const serving = await app({ address: '127.0.0.1:0' });
    serving.answerAll();
    expect(await call(as(poolTo(serving.address), caller(1)))).toEqual(answered);
  });

  it('name a missing socket', async () => {
    expect(problemOf(await call(as(poolTo(address), caller(1))))).toMatchObject({
      kind: 'REFUSED',
      address,
      detail: expect.stringContaining('ENOENT'),
    });
  });

  it('name a stale socket that nobody listens on, and one that is silent', async () => {
    const path = address.slice('unix:'.length);
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(path, resolve));
    releases.push(() => silent.close());
    const pool = poolTo(address, { pool: { dialMsMax: 50 } });
    expect(problemOf(await call(as(pool, caller(1))))).toMatchObject({
      kind: 'TIMED_OUT',
      address,
      detail: 'no HTTP/2 frame from the peer in 50 ms',
    });
  });

  it('come back when the app does', async () => {
    const first = await app();
    first.answerAll();
    const now = { ms: clock() };
    const pool = poolTo(address, { clock: () => now.ms });
    expect(await call(as(pool, caller(1)))).toEqual(answered);
    await first.close();
    await expect.poll(() => pool.view().connections, WAIT).toBe(0);
    expect((await call(as(pool, caller(1)))).kind).toBe('problem');
    const second = await app();
    second.answerAll();
    now.ms += 2_000;
    expect(await call(as(pool, caller(1)))).toEqual(answered);
  });

  it('end when they are idle, and are dialled again for the next call', async () => {
    const serving = await app();
    serving.answerAll();
    const pool = poolTo(address, { idleMsMax: 100 });
    await call(as(pool, caller(1)));
    await expect.poll(() => serving.sessions.size, WAIT).toBe(0);
    expect(serving.accepted()).toBe(1);
    expect(await call(as(pool, caller(1)))).toEqual(answered);
  });

  it('drain: open calls finish and the app sees every connection end', async () => {
    const serving = await app();
    const pool = poolTo(address);
    const long = call(as(pool, caller(1)));
    await expect.poll(() => serving.open.length, WAIT).toBe(1);
    const drained = pool.drain();
    serving.answerAll();
    expect(await long).toEqual(answered);
    await drained;
    await expect.poll(() => serving.sessions.size, WAIT).toBe(0);
  });
});
