import { createServer as createTlsServer } from 'node:tls';
import { serverTlsOptions } from '@gatehouse/identity';
import { describe, expect, it } from 'vitest';
import type { Ending } from './test/peer.ts';
import { clock, identityOf, issue, OWN_ID, PEER_ID, sourceOf } from './test/peer.ts';
import {
  after,
  answered,
  attemptAt,
  callTo,
  given,
  newAuthority,
  peer,
  problemOf,
  rawPeer,
  upstreamsTo,
  WAIT,
} from './test/upstreams-under-test.ts';

describe('the connections to an endpoint', () => {
  it('is told from a stranger: another workload, another CA of the same name, an expired certificate', async () => {
    const impostor = await newAuthority();
    const expired = await given().authority.issueFlawed({ uris: [PEER_ID], validForMs: 60_000 });
    const expiring = identityOf(expired, given().authority.bundlePem);
    const serving = await Promise.all([
      peer({}, await issue(given().authority, OWN_ID)),
      peer({}, await issue(impostor, PEER_ID)),
      peer({}, expiring),
    ]);
    const at = { clock: () => clock() + 61_000 };
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
    const named = closed.address.replace('127.0.0.1', 'localhost');
    for (const address of [closed.address, named, 'unix:/nowhere.sock', silent, hangsUp, notTls]) {
      kinds.push(problemOf(await callTo(upstreamsTo([address], { pool: { dialMsMax: 200 } }))));
    }
    expect(kinds).toEqual([
      expect.objectContaining({ kind: 'REFUSED', address: closed.address }),
      expect.objectContaining({ kind: 'REFUSED', detail: expect.stringContaining('ECONNREFUSED') }),
      expect.objectContaining({ kind: 'REFUSED', address: 'unix:/nowhere.sock' }),
      expect.objectContaining({ kind: 'TIMED_OUT', detail: 'no connection in 200 ms' }),
      expect.objectContaining({ kind: 'CLOSED_EARLY' }),
      expect.objectContaining({ kind: 'TLS_FAILED' }),
    ]);
  });

  it('reports a peer that refuses our identity, or speaks no HTTP/2, before a call is sent', async () => {
    const tlsPeer = async (answer: string, protocols: string[]): Promise<string> => {
      const server = createTlsServer(
        { ...serverTlsOptions(given().peerIdentity), ALPNProtocols: protocols },
        (socket) => {
          socket.on('error', () => {}).end(answer);
        },
      );
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      after(() => server.close());
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
    const source = sourceOf(given().own);
    const upstreams = upstreamsTo([serving.address], { identity: source });
    const endings: Promise<Ending>[] = [];
    for (let round = 0; round < 40; round += 1) {
      if (round % 10 === 5) {
        source.rotate(await issue(given().authority, OWN_ID, source.current().generation + 1));
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
    const source = sourceOf(given().own);
    const upstreams = upstreamsTo([serving.address], { identity: source });
    const long = callTo(upstreams);
    await expect.poll(() => serving.open.length, WAIT).toBe(1);
    source.rotate(await issue(given().authority, OWN_ID, 2));
    await expect.poll(() => serving.accepted(), WAIT).toBe(2);
    serving.answerAll();
    expect(await long).toEqual(answered);
    await expect.poll(() => serving.sessions.size, WAIT).toBe(1);
  });

  it('uses no connection any more whose CA has left the bundle, and cuts its streams after a while', async () => {
    const serving = await peer();
    const source = sourceOf(given().own);
    const upstreams = upstreamsTo([serving.address], { identity: source, pool: { cutMs: 20 } });
    const long = callTo(upstreams);
    await expect.poll(() => serving.open.length, WAIT).toBe(1);
    const other = await newAuthority();
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

  it('does not lose the place of a call that gave up while it waited', async () => {
    const serving = await peer({ settings: { maxConcurrentStreams: 1 } });
    const upstreams = upstreamsTo([serving.address], { pool: { connectionsMax: 1 } });
    const first = callTo(upstreams);
    await expect.poll(() => serving.open.length, WAIT).toBe(1);
    const givenUp = attemptAt(upstreams);
    const woken = givenUp.ready(5_000);
    const last = callTo(upstreams);
    serving.answerAll();
    expect(await Promise.all([first, woken, last])).toEqual([answered, null, answered]);
  });

  it('replaces a connection before its stream ids run out', async () => {
    const serving = await peer();
    serving.answerAll();
    const upstreams = upstreamsTo([serving.address], { pool: { streamsOpenedMax: 10 } });
    const endings: Ending[] = [];
    for (let count = 0; count < 25; count += 1) {
      endings.push(await callTo(upstreams));
    }
    expect(endings).toEqual(Array(25).fill(answered));
    expect(serving.accepted()).toBe(3);
  });

  it('replaces a connection well before the first of the two certificates expires', async () => {
    const serving = await peer({}, await issue(given().authority, PEER_ID, 1, 100_000));
    serving.answerAll();
    const now = { ms: clock() };
    const source = sourceOf(given().own);
    const upstreams = upstreamsTo([serving.address], { clock: () => now.ms, identity: source });
    await callTo(upstreams);
    now.ms += 60_000;
    await callTo(upstreams);
    source.rotate(given().own);
    expect(serving.accepted(), 'with 40 % of its life left').toBe(1);
    now.ms += 22_000;
    await callTo(upstreams);
    source.rotate(given().own);
    await expect.poll(() => serving.accepted(), WAIT).toBe(2);
    await expect.poll(() => serving.sessions.size, WAIT).toBe(1);
  });

  it('lets a call wait no longer than it may for a stream', async () => {
    const serving = await peer({ settings: { maxConcurrentStreams: 1 } });
    const upstreams = upstreamsTo([serving.address], { pool: { connectionsMax: 1 } });
    const first = callTo(upstreams);
    await expect.poll(() => serving.open.length, WAIT).toBe(1);
    expect(problemOf(await callTo(upstreams, 30))).toMatchObject({ kind: 'NO_STREAM_FREE' });
    expect(upstreams.views()[0]?.endpoints[0]?.breaker, 'that is not its fault').toMatchObject({
      failuresTotal: 0,
      neutralsTotal: 1,
    });
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
});
