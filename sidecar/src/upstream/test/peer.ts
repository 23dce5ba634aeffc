/** A real mTLS peer and real calls to it, for the tests of this folder. */
import { once } from 'node:events';
import type { Http2Server, Http2Session, ServerHttp2Stream, Settings } from 'node:http2';
import { createSecureServer, createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Authority, Credentials, Identity, IdentitySource } from '@gatehouse/identity';
import { makeIdentity, serverTlsOptions } from '@gatehouse/identity';
import type { Stream, StreamHandler, StreamReset } from '../../http2/index.ts';
import { field } from '../../http2/index.ts';
import type { ConnectProblem } from '../connect-problem.ts';

export const TRUST_DOMAIN = 'gatehouse.local';
export const HOUR_MS = 3_600_000;
export const PEER_ID = 'spiffe://gatehouse.local/ns/local/sa/inference';
export const OWN_ID = 'spiffe://gatehouse.local/ns/local/sa/orchestration';
export const clock = (): number => performance.timeOrigin + performance.now();

export function identityOf(credentials: Credentials, bundlePem: string, generation = 1): Identity {
  const made = makeIdentity(
    { ...credentials, bundlePem },
    { trustDomain: TRUST_DOMAIN, nowMs: Date.now(), generation },
  );
  if ('problem' in made) {
    throw new Error(made.problem.detail);
  }
  return made.identity;
}

export async function issue(
  authority: Authority,
  spiffeId: string,
  generation = 1,
  validForMs = HOUR_MS,
): Promise<Identity> {
  return identityOf(await authority.issue({ spiffeId, validForMs }), authority.bundlePem, generation);
}

/** An identity source whose next identity the test decides. */
export function sourceOf(
  first: Identity,
): IdentitySource & { rotate(next: Identity): void; readonly listeners: number } {
  const listeners = new Set<(identity: Identity) => void>();
  let identity = first;
  return {
    current: () => identity,
    problem: () => null,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: () => listeners.clear(),
    rotate: (next) => {
      identity = next;
      for (const listener of listeners) {
        listener(next);
      }
    },
    get listeners() {
      return listeners.size;
    },
  };
}

export type Peer = {
  readonly address: string;
  readonly sessions: Set<Http2Session>;
  /** Streams whose request has come and which have no answer yet. */
  readonly open: ServerHttp2Stream[];
  /** Connections accepted so far. */
  readonly accepted: () => number;
  /** Answers at once from now on. */
  answerAll(): void;
  close(): Promise<void>;
};

export type PeerOptions = { readonly settings?: Settings; readonly address?: string };

/** A peer over mTLS on a free port, or over plaintext h2c when it has no identity. */
export async function startPeer(identity: Identity | null, options: PeerOptions = {}): Promise<Peer> {
  const { settings = {}, address = '127.0.0.1:0' } = options;
  const server =
    identity === null
      ? createServer({ settings })
      : createSecureServer({ ...serverTlsOptions(identity), settings });
  const sessions = new Set<Http2Session>();
  const open: ServerHttp2Stream[] = [];
  let accepted = 0;
  let answering = false;
  const answer = (stream: ServerHttp2Stream): void => {
    if (!stream.destroyed) {
      stream.respond({ ':status': 200 });
      stream.end('answer');
    }
  };
  server.on('session', (session: Http2Session) => {
    accepted += 1;
    sessions.add(session);
    session.on('error', () => {}).on('close', () => sessions.delete(session));
  });
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => {});
    if (answering) {
      answer(stream);
    } else {
      open.push(stream);
    }
  });
  await listen(server as Http2Server, address);
  return {
    address: address.startsWith('unix:') ? address : `127.0.0.1:${(server.address() as AddressInfo).port}`,
    sessions,
    open,
    accepted: () => accepted,
    answerAll: () => {
      answering = true;
      for (const stream of open.splice(0)) {
        answer(stream);
      }
    },
    close: async () => {
      server.close();
      for (const session of sessions) {
        session.destroy();
      }
      if (server.listening) {
        await once(server, 'close');
      }
    },
  };
}

async function listen(server: Http2Server, address: string): Promise<void> {
  if (address.startsWith('unix:')) {
    server.listen(address.slice('unix:'.length));
  } else {
    const [host, port] = address.split(':');
    server.listen(Number(port), host);
  }
  await once(server, 'listening');
}

/** Something that a call can be made through. */
export type Way = {
  openStream(handler: StreamHandler): Stream | null;
  ready(timeoutMs: number): Promise<ConnectProblem | null>;
};

export type Ending =
  | { readonly kind: 'answered'; readonly text: string }
  | { readonly kind: 'reset'; readonly reset: StreamReset }
  | { readonly kind: 'problem'; readonly problem: ConnectProblem };

const HEAD = [
  field(':method', 'POST'),
  field(':scheme', 'https'),
  field(':path', '/test.Test/Call'),
  field(':authority', 'test'),
];

/** Makes one call; resolves with how it ended. */
export async function call(way: Way, timeoutMs = 5_000): Promise<Ending> {
  const ending = Promise.withResolvers<Ending>();
  let text = '';
  const handler: StreamHandler = {
    onHeaders() {},
    onData(stream, chunk, start, end) {
      text += chunk.toString('utf8', start, end);
      stream.consume(end - start);
    },
    onSent() {},
    onReset: (_, reset) => ending.resolve({ kind: 'reset', reset }),
    onEnd: () => ending.resolve({ kind: 'answered', text }),
  };
  let stream = way.openStream(handler);
  while (stream === null) {
    const problem = await way.ready(timeoutMs);
    if (problem !== null) {
      return { kind: 'problem', problem };
    }
    stream = way.openStream(handler);
  }
  stream.sendHeaders(HEAD, true);
  return ending.promise;
}
