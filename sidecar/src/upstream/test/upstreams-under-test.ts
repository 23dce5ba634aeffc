/** Upstreams with real mTLS peers, for the tests of this folder. */
import type { Socket } from 'node:net';
import { createServer } from 'node:net';
import type { Authority, Identity } from '@gatehouse/identity';
import { createAuthority } from '@gatehouse/identity';
import { afterEach, beforeAll } from 'vitest';
import { defaultSettings } from '../../http2/index.ts';
import type { Attempt } from '../endpoint.ts';
import type { Upstreams, UpstreamsParts } from '../upstreams.ts';
import { createUpstreams } from '../upstreams.ts';
import type { Ending, Peer, PeerOptions } from './peer.ts';
import { call, clock, HOUR_MS, issue, OWN_ID, PEER_ID, sourceOf, startPeer, TRUST_DOMAIN } from './peer.ts';

/** How `expect.poll` waits. */
export const WAIT = { timeout: 5_000, interval: 5 };
export const answered = { kind: 'answered', text: 'answer' };

let authority: Authority;
let own: Identity;
let peerIdentity: Identity;
const releases: (() => unknown)[] = [];

beforeAll(async () => {
  authority = await newAuthority();
  own = await issue(authority, OWN_ID);
  peerIdentity = await issue(authority, PEER_ID);
});

afterEach(async () => {
  for (const release of releases.splice(0).reverse()) {
    await release();
  }
});

/** Runs after the test, last in first out. */
export function after(release: () => unknown): void {
  releases.push(release);
}

/** What was set up once for the file: a CA, our own identity and the peer's. */
export const given = () => ({ authority, own, peerIdentity });

export const newAuthority = () =>
  createAuthority({ trustDomain: TRUST_DOMAIN, clock: () => Date.now(), validForMs: HOUR_MS });

export async function peer(options?: PeerOptions, identity: Identity = peerIdentity): Promise<Peer> {
  const started = await startPeer(identity, options);
  after(() => started.close());
  return started;
}

export function upstreamsTo(endpoints: readonly string[], parts: Partial<UpstreamsParts> = {}): Upstreams {
  const upstreams = createUpstreams([{ name: 'inference', identity: PEER_ID, endpoints }], {
    identity: sourceOf(own),
    settings: defaultSettings,
    clock,
    random: Math.random,
    onBreakerChange: () => {},
    ...parts,
  });
  after(() => upstreams.close());
  return upstreams;
}

export function attemptAt(upstreams: Upstreams): Attempt {
  const picked = upstreams.get('inference')?.pick();
  if (picked === undefined || 'retryDelayMs' in picked) {
    throw new Error('no endpoint takes the call');
  }
  return picked;
}

export async function callTo(upstreams: Upstreams, timeoutMs?: number): Promise<Ending> {
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
export async function rawPeer(onSocket: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => {
    server.close();
    for (const socket of sockets) {
      socket.destroy();
    }
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? `127.0.0.1:${address.port}` : '';
}

export const problemOf = (ending: Ending) => (ending.kind === 'problem' ? ending.problem : ending);
