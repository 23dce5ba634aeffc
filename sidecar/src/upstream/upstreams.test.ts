import type { Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Authority, Identity } from '@gatehouse/identity';
import { createAuthority, serverTlsOptions } from '@gatehouse/identity';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { defaultSettings } from '../http2/index.ts';
import type { BreakerChange } from './breaker.ts';
import type { Attempt } from './endpoint.ts';
import type { Ending, Peer, PeerOptions } from './test/peer.ts';
import {
  call,
  clock,
  HOUR_MS,
  identityOf,
  issue,
  OWN_ID,
  PEER_ID,
  sourceOf,
  startPeer,
  TRUST_DOMAIN,
} from './test/peer.ts';
import type { Upstreams, UpstreamsParts } from './upstreams.ts';
import { createUpstreams } from './upstreams.ts';

const WAIT = { timeout: 5_000, interval: 5 };
let authority: Authority;
let own: Identity;
let peerIdentity: Identity;
const releases: (() => unknown)[] = [];

beforeAll(async () => {
  authority = await createAuthority({
    trustDomain: TRUST_DOMAIN,
    clock: () => Date.now(),
    validForMs: HOUR_MS,
  });
  own = await issue(authority, OWN_ID);
  peerIdentity = await issue(authority, PEER_ID);
});

afterEach(async () => {
  for (const release of releases.splice(0).reverse()) {
    await release();
  }
});

async function peer(options?: PeerOptions, identity: Identity = peerIdentity): Promise<Peer> {
  const started = await startPeer(identity, options);
  releases.push(() => started.close());
  return started;
}

function upstreamsTo(endpoints: readonly string[], parts: Partial<UpstreamsParts> = {}): Upstreams {
  const upstreams = createUpstreams([{ name: 'inference', identity: PEER_ID, endpoints }], {
    identity: sourceOf(own),
    settings: defaultSettings,
    clock,
    random: Math.random,
    onBreakerChange: () => {},
    ...parts,
  });
  releases.push(() => upstreams.close());
  return upstreams;
}

function attemptAt(upstreams: Upstreams): Attempt {
  const picked = upstreams.get('inference')?.pick();
  if (picked === undefined || 'retryDelayMs' in picked) {
    throw new Error('no endpoint takes the call');
  }
  return picked;
}

async function callTo(upstreams: Upstreams, timeoutMs?: number): Promise<Ending> {
  const attempt = attemptAt(upstreams);
  const ending = await call(attempt, timeoutMs);
  attempt.settle(
    ending.kind === 'answered' ? 'success' : 'failure',
    ending.kind === 'problem' ? 'connect' : 'reset',
  );
  attempt.release();
  return ending;
}

/** A TCP listener that does as told with what connects. */
async function rawPeer(onSocket: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  releases.push(() => {
    server.close();
    for (const socket of sockets) {
      socket.destroy();
    }
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? `127.0.0.1:${address.port}` : '';
}

const problemOf = (ending: Ending) => (ending.kind === 'problem' ? ending.problem : ending);
const answered = { kind: 'answered', text: 'answer' };

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

  it('is told from a stranger: another workload, another CA of the same name, an expired certificate', async () => {
    const impostor = await createAuthority({
      trustDomain: TRUST_DOMAIN,
      clock: () => Date.now(),
      validForMs: HOUR_MS,
    });
    const expired = await authority.issueFlawed({ uris: [PEER_ID], validForMs: 1_500 });
    const expiring = identityOf(expired, authority.bundlePem);
    const serving = await Promise.all([
      peer({}, await issue(authority, OWN_ID)),
      peer({}, await issue(impostor, PEER_ID)),
      peer({}, expiring),
    ]);
    const at = { clock: () => clock() + 2_000 };
    const endings = await Promise.all(serving.map(({ address }) => callTo(upstreamsTo([address], at))));
    expect(endings.map((ending) => problemOf(ending))).toEqual([
      expect.objectContaining({ kind: 'PEER_REFUSED', peerReason: 'WRONG_SPIFFE_ID' }),
      expect.objectContaining({ kind: 'PEER_REFUSED', peerReason: 'UNTRUSTED_ISSUER' }),
      expect.objectContaining({ kind: 'PEER_REFUSED', peerReason: 'EXPIRED' }),
    ]);
  });

  it('says how a connection failed', async () => {
    const closed = await peer();
    await closed.close();
    const silent = await rawPeer(() => {});
    const hangsUp = await rawPeer((socket) => socket.destroy());
    const notTls = await rawPeer((socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'));
    const kinds = [];
    for (const address of [closed.address, 'unix:/nowhere.sock', silent, hangsUp, notTls]) {
      kinds.push(problemOf(await callTo(upstreamsTo([address], { pool: { dialMsMax: 200 } }))));
    }
    expect(kinds).toEqual([
      expect.objectContaining({ kind: 'REFUSED', address: closed.address }),
      expect.objectContaining({ kind: 'REFUSED', address: 'unix:/nowhere.sock' }),
      expect.objectContaining({ kind: 'TIMED_OUT', detail: 'no connection in 200 ms' }),
      expect.objectContaining({ kind: 'CLOSED_EARLY' }),
      expect.objectContaining({ kind: 'TLS_FAILED' }),
    ]);
  });

  it('reports a peer that refuses our identity, or speaks no HTTP/2, before a call is sent', async () => {
    const tlsPeer = async (answer: string, protocols: string[]): Promise<string> => {
      const server = createTlsServer(
        { ...serverTlsOptions(peerIdentity), ALPNProtocols: protocols },
        (socket) => {
          socket.on('error', () => {}).end(answer);
        },
      );
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      releases.push(() => server.close());
      const address = server.address();
      return typeof address === 'object' && address !== null ? `127.0.0.1:${address.port}` : '';
    };
    const endings = [];
    for (const address of [await tlsPeer('', ['h2']), await tlsPeer('HTTP/1.1 400 Bad\r\n\r\n', ['h2'])]) {
      endings.push(problemOf(await callTo(upstreamsTo([address]))));
    }
    expect(endings).toEqual([
      expect.objectContaining({ kind: 'CLOSED_EARLY' }),
      expect.objectContaining({ kind: 'NOT_HTTP2' }),
    ]);
  });

  it('fails calls at once during the backoff, and dials again after it', async () => {
    const first = await peer();
    await first.close();
    const now = { ms: clock() };
    const upstreams = upstreamsTo([first.address], { clock: () => now.ms, breaker: { callsMin: 100 } });
    await callTo(upstreams);
    const serving = await peer({ address: first.address });
    serving.answerAll();
    expect(problemOf(await callTo(upstreams)), 'still backing off').toMatchObject({ kind: 'REFUSED' });
    now.ms += 2_000;
    expect(await callTo(upstreams)).toEqual(answered);
  });

  it('finishes old streams after a GOAWAY while new calls go over a new connection', async () => {
    const serving = await peer();
    const upstreams = upstreamsTo([serving.address]);
    const old = callTo(upstreams);
    await expect.poll(() => serving.open.length, WAIT).toBe(1);
    for (const session of serving.sessions) {
      session.goaway();
    }
    await expect.poll(() => serving.accepted(), WAIT).toBe(2);
    const fresh = callTo(upstreams);
    await expect.poll(() => serving.open.length, WAIT).toBe(2);
    expect(serving.open[0]?.session).not.toBe(serving.open[1]?.session);
    serving.answerAll();
    expect(await Promise.all([old, fresh])).toEqual([answered, answered]);
  });

  it('loses no call while the identity rotates under load, and lets go of the old connection', async () => {
    const serving = await peer();
    serving.answerAll();
    const source = sourceOf(own);
    const upstreams = upstreamsTo([serving.address], { identity: source });
    const endings: Promise<Ending>[] = [];
    for (let round = 0; round < 40; round += 1) {
      if (round % 10 === 5) {
        source.rotate(await issue(authority, OWN_ID, source.current().generation + 1));
      }
      endings.push(callTo(upstreams), callTo(upstreams));
      await Promise.race(endings.slice(-2));
    }
    const all = await Promise.all(endings);
    expect(all.filter((ending) => ending.kind !== 'answered')).toEqual([]);
    await expect.poll(() => serving.sessions.size, WAIT).toBe(1);
    expect(serving.accepted()).toBeGreaterThan(1);
  });

  it('keeps a long stream on its old connection through a rotation', async () => {
    const serving = await peer();
    const source = sourceOf(own);
    const upstreams = upstreamsTo([serving.address], { identity: source });
    const long = callTo(upstreams);
    await expect.poll(() => serving.open.length, WAIT).toBe(1);
    source.rotate(await issue(authority, OWN_ID, 2));
    await expect.poll(() => serving.accepted(), WAIT).toBe(2);
    serving.answerAll();
    expect(await long).toEqual(answered);
    await expect.poll(() => serving.sessions.size, WAIT).toBe(1);
  });

  it('uses no connection any more whose CA has left the bundle, and cuts its streams after a while', async () => {
    const serving = await peer();
    const source = sourceOf(own);
    const upstreams = upstreamsTo([serving.address], { identity: source, pool: { cutMs: 20 } });
    const long = callTo(upstreams);
    await expect.poll(() => serving.open.length, WAIT).toBe(1);
    const other = await createAuthority({
      trustDomain: TRUST_DOMAIN,
      clock: () => Date.now(),
      validForMs: HOUR_MS,
    });
    source.rotate(await issue(other, OWN_ID, 2));
    expect(await long).toMatchObject({ kind: 'reset', reset: { origin: 'connection' } });
    expect(problemOf(await callTo(upstreams))).toMatchObject({
      kind: 'PEER_REFUSED',
      peerReason: 'UNTRUSTED_ISSUER',
    });
  });

  it('adds connections when the streams of one are used up, to a bound, and then makes calls wait their turn', async () => {
    const serving = await peer({ settings: { maxConcurrentStreams: 2 } });
    const upstreams = upstreamsTo([serving.address], { pool: { connectionsMax: 2, waitersMax: 4 } });
    const calls = Array.from({ length: 4 }, () => callTo(upstreams));
    await expect.poll(() => serving.open.length, WAIT).toBe(4);
    const waiting = Array.from({ length: 4 }, () => callTo(upstreams));
    expect(problemOf(await callTo(upstreams))).toMatchObject({ kind: 'QUEUE_FULL' });
    expect(serving.accepted()).toBe(2);
    serving.answerAll();
    const endings = await Promise.all([...calls, ...waiting]);
    expect(endings).toEqual(Array(8).fill(answered));
    expect(serving.accepted()).toBe(2);
  });

  it('lets a call wait no longer than it may for a stream', async () => {
    const serving = await peer({ settings: { maxConcurrentStreams: 1 } });
    const upstreams = upstreamsTo([serving.address], { pool: { connectionsMax: 1 } });
    const first = callTo(upstreams);
    await expect.poll(() => serving.open.length, WAIT).toBe(1);
    expect(problemOf(await callTo(upstreams, 30))).toMatchObject({ kind: 'NO_STREAM_FREE' });
    serving.answerAll();
    expect(await first).toEqual(answered);
    expect(await callTo(upstreams)).toEqual(answered);
  });

  it('serves many more calls than streams, in the end', async () => {
    const serving = await peer({ settings: { maxConcurrentStreams: 3 } });
    serving.answerAll();
    const upstreams = upstreamsTo([serving.address], { pool: { connectionsMax: 2 } });
    const endings = await Promise.all(Array.from({ length: 200 }, () => callTo(upstreams)));
    expect(endings.filter((ending) => ending.kind !== 'answered')).toEqual([]);
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
    expect(upstreams.get('inference')?.pick()).toEqual({ retryDelayMs: 5_000 });
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

  it('leaves no timer, no socket and no listener behind when it is closed', async () => {
    const serving = await peer();
    const source = sourceOf(own);
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
