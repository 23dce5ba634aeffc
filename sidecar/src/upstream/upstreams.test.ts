import { describe, expect, it } from 'vitest';
import { defaultSettings } from '../http2/index.ts';
import type { BreakerChange } from './breaker.ts';
import type { Ending } from './test/peer.ts';
import { clock, PEER_ID, sourceOf } from './test/peer.ts';
import {
  answered,
  attemptAt,
  callTo,
  given,
  peer,
  problemOf,
  rawPeer,
  upstreamsTo,
  WAIT,
} from './test/upstreams-under-test.ts';
import { createUpstreams } from './upstreams.ts';

describe('an upstream', () => {
  it('answers calls over one verified connection', async () => {
    const serving = await peer();
    serving.answerAll();
    const upstreams = upstreamsTo([serving.address]);
    expect(await Promise.all([1, 2, 3].map(() => callTo(upstreams)))).toEqual([answered, answered, answered]);
    expect(serving.accepted()).toBe(1);
    const [view] = upstreams.views();
    expect(view?.endpoints[0]).toMatchObject({ address: serving.address, connections: 1, callsActive: 0 });
    expect(view?.endpoints[0]?.breaker).toMatchObject({ state: 'closed', successesTotal: 3 });
  });

  it('opens a stream without waiting once a connection stands', async () => {
    const serving = await peer();
    serving.answerAll();
    const upstreams = upstreamsTo([serving.address]);
    await callTo(upstreams);
    const attempt = attemptAt(upstreams);
    const stream = attempt.openStream({ onHeaders() {}, onData() {}, onSent() {}, onReset() {} });
    expect(stream).not.toBeNull();
    stream?.reset(8);
    attempt.release();
  });

  it('knows no other name than its own', () => {
    expect(upstreamsTo(['127.0.0.1:1']).get('Inference')).toBeUndefined();
  });

  it('opens its breaker on a dead endpoint, lets one call through in panic, and recovers with it', async () => {
    const dead = await peer();
    await dead.close();
    const changes: BreakerChange[] = [];
    const now = { ms: clock() };
    const upstreams = upstreamsTo([dead.address], {
      clock: () => now.ms,
      onBreakerChange: (_, __, change) => changes.push(change),
    });
    for (let count = 0; count < 5; count += 1) {
      await callTo(upstreams);
    }
    expect(changes).toEqual([expect.objectContaining({ state: 'open', openedBy: 'connect' })]);
    expect(upstreams.get('inference')?.pick()).toEqual({ retryDelayMs: 5_000, because: 'ALL_OPEN' });
    const serving = await peer({ address: dead.address });
    serving.answerAll();
    now.ms += 2_500;
    expect(await callTo(upstreams)).toEqual(answered);
    expect(changes.at(-1)).toMatchObject({ state: 'closed', previous: 'open' });
  });

  it('leaves a dead endpoint to its breaker and serves from the other', async () => {
    const [dead, serving] = [await peer(), await peer()];
    await dead.close();
    serving.answerAll();
    const upstreams = upstreamsTo([dead.address, serving.address]);
    const endings: Ending[] = [];
    for (let count = 0; count < 60; count += 1) {
      endings.push(await callTo(upstreams));
    }
    expect(endings.slice(-30)).toEqual(Array(30).fill(answered));
    expect(endings.filter(({ kind }) => kind === 'problem').length).toBeLessThanOrEqual(5);
  });

  it('takes another endpoint for a call that the first has just failed', async () => {
    const serving = await peer();
    const upstream = upstreamsTo(['127.0.0.1:1', serving.address]).get('inference');
    const picked = Array.from({ length: 20 }, () => upstream?.pick('127.0.0.1:1'));
    const addresses = picked.map((attempt) =>
      attempt !== undefined && 'endpoint' in attempt ? attempt.endpoint.address : '',
    );
    expect(new Set(addresses)).toEqual(new Set([serving.address]));
  });

  it('drains: open calls finish, waiting and new ones are told', async () => {
    const serving = await peer();
    const upstreams = upstreamsTo([serving.address]);
    const long = callTo(upstreams);
    await expect.poll(() => serving.open.length, WAIT).toBe(1);
    const drained = upstreams.drain();
    expect(problemOf(await callTo(upstreams))).toMatchObject({ kind: 'STOPPING' });
    serving.answerAll();
    expect(await long).toEqual(answered);
    await drained;
    await expect.poll(() => serving.sessions.size, WAIT).toBe(0);
  });

  it('keeps connections and breaker of an endpoint that stays, and of one that comes back before its last call is over', async () => {
    const [one, other] = [await peer(), await peer()];
    other.answerAll();
    const upstreams = upstreamsTo([one.address]);
    const long = callTo(upstreams);
    await expect.poll(() => one.open.length, WAIT).toBe(1);
    upstreams.setEndpoints('inference', [other.address]);
    expect(upstreams.views()[0]?.endpointsLeaving).toBe(1);
    expect(await callTo(upstreams)).toEqual(answered);
    upstreams.setEndpoints('inference', [one.address, other.address]);
    expect(upstreams.views()[0]).toMatchObject({
      endpointsLeaving: 0,
      endpoints: [{ address: one.address, callsActive: 1 }, { breaker: { successesTotal: 1 } }],
    });
    one.answerAll();
    expect(await long).toEqual(answered);
    for (let count = 0; count < 10; count += 1) await callTo(upstreams);
    expect([one.accepted(), other.accepted()]).toEqual([1, 1]);
  });

  it('closes the connections of an endpoint that has left after its last call, and dials anew when it comes back later', async () => {
    const serving = await peer();
    const upstreams = upstreamsTo([serving.address]);
    const long = callTo(upstreams);
    await expect.poll(() => serving.open.length, WAIT).toBe(1);
    upstreams.setEndpoints('inference', []);
    expect(upstreams.get('inference')?.pick()).toEqual({ retryDelayMs: 1_000, because: 'NONE_KNOWN' });
    serving.answerAll();
    expect(await long).toEqual(answered);
    await expect.poll(() => serving.sessions.size, WAIT).toBe(0);
    upstreams.setEndpoints('inference', [serving.address]);
    expect(await callTo(upstreams)).toEqual(answered);
    expect(serving.accepted()).toBe(2);
  });

  it('drains what has left as well', async () => {
    const serving = await peer();
    const upstreams = upstreamsTo([serving.address]);
    const long = callTo(upstreams);
    await expect.poll(() => serving.open.length, WAIT).toBe(1);
    upstreams.setEndpoints('inference', []);
    const drained = upstreams.drain();
    serving.answerAll();
    expect(await long).toEqual(answered);
    await drained;
    await expect.poll(() => serving.sessions.size, WAIT).toBe(0);
  });

  it('leaves no timer, no socket and no listener behind when it is closed', async () => {
    const serving = await peer();
    const source = sourceOf(given().own);
    const silent = await rawPeer(() => {});
    const resources = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const before = resources();
    const upstreams = createUpstreams(
      [
        { name: 'inference', identity: PEER_ID, endpoints: [serving.address] },
        { name: 'silent', identity: PEER_ID, endpoints: [silent] },
      ],
      { identity: source, settings: defaultSettings, clock, random: Math.random, onBreakerChange: () => {} },
    );
    const long = callTo(upstreams);
    const stuck = upstreams.get('silent')?.pick();
    const waiting = stuck !== undefined && 'endpoint' in stuck ? stuck.ready(60_000) : null;
    await expect.poll(() => serving.open.length, WAIT).toBe(1);
    upstreams.close();
    expect(await long).toMatchObject({ kind: 'reset' });
    expect(await waiting).toMatchObject({ kind: 'STOPPING' });
    expect(source.listeners).toBe(0);
    await expect.poll(() => serving.sessions.size, WAIT).toBe(0);
    await expect.poll(resources, WAIT).toBeLessThanOrEqual(before);
  });
});
