import type { Socket } from 'node:net';
import { connect as connectPlain } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { connect as connectTls } from 'node:tls';
import type { Identity, PeerIdentity, PeerRefusal } from '@gatehouse/identity';
import { clientTlsOptions, verifyPeer } from '@gatehouse/identity';
import type { Address } from '@gatehouse/sockets';
import type { ConnectProblem } from './connect-problem.ts';
import { problemOf } from './connect-problem.ts';
import { SocketInput } from './socket-input.ts';

/** A socket that is ready for HTTP/2. */
export type Dialled = {
  readonly socket: Socket;
  /** The socket itself emits no data. */
  readonly input: SocketInput;
  /** Who is at the other end; null on a plaintext connection to the own app. */
  readonly peer: PeerIdentity | null;
  /** The identity of ours that was shown; null on plaintext. */
  readonly identity: Identity | null;
};

/** Calls back at most once; not at all after it was aborted by the function it returns. */
export type Dial = (onResult: (result: Dialled | { readonly problem: ConnectProblem }) => void) => () => void;

export type TlsTarget = {
  readonly name: string;
  readonly address: Address;
  /** The SPIFFE ID that the peer must have. */
  readonly peerSpiffeId: string;
  readonly identity: () => Identity;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
};

/** Dials over TLS 1.3 with our identity and verifies the peer's before anything is sent. */
export function dialTls(target: TlsTarget): Dial {
  return (onResult) => {
    const identity = target.identity();
    const input = new SocketInput();
    // tls.connect passes `onread` on to the socket (Node documents it as an option of socket.connect); its types do not say so.
    const options = { ...clientTlsOptions(identity), ...target.address, onread: input.onRead };
    const socket = connectTls(options);
    return settleOnce(socket, target.name, onResult, (finish) => {
      socket.once('secureConnect', () => {
        const verdict = verdictOn({ socket, input }, identity, target);
        if ('problem' in verdict) {
          socket.destroy();
        }
        finish(verdict);
      });
    });
  };
}

/** Dials the own app in plaintext. */
export function dialPlain(name: string, address: Address): Dial {
  return (onResult) => {
    const input = new SocketInput();
    const socket = connectPlain({ ...address, onread: input.onRead });
    return settleOnce(socket, name, onResult, (finish) => {
      socket.once('connect', () => finish({ socket, input, peer: null, identity: null }));
    });
  };
}

function settleOnce(
  socket: Socket,
  name: string,
  onResult: Parameters<Dial>[0],
  start: (finish: Parameters<Dial>[0]) => void,
): () => void {
  const onError = (error: Error): void => finish({ problem: problemOf(error, name) });
  const onClose = (): void =>
    finish({
      problem: { kind: 'CLOSED_EARLY', address: name, detail: 'the peer closed during the handshake' },
    });
  let settled = false;
  const finish: Parameters<Dial>[0] = (result) => {
    if (settled) {
      return;
    }
    settled = true;
    socket.off('close', onClose);
    if ('problem' in result) {
      // The error listener stays, so that a late error of the dead socket is not thrown.
      onResult(result);
      return;
    }
    // The new owner has to listen for errors before this returns.
    onResult(result);
    socket.off('error', onError);
  };
  socket.on('error', onError);
  socket.on('close', onClose);
  start(finish);
  return () => {
    settled = true;
    socket.destroy();
  };
}

function verdictOn(
  { socket, input }: { readonly socket: TLSSocket; readonly input: SocketInput },
  identity: Identity,
  target: TlsTarget,
): Dialled | { readonly problem: ConnectProblem } {
  const result = verifyPeer(socket, {
    trust: identity,
    nowMs: target.clock(),
    peerIs: 'server',
    spiffeId: target.peerSpiffeId,
  });
  if ('refusal' in result) {
    return { problem: refused(target.name, result.refusal) };
  }
  if (socket.alpnProtocol !== 'h2') {
    return { problem: { kind: 'NOT_HTTP2', address: target.name, detail: 'the peer did not agree on h2' } };
  }
  return { socket, input, peer: result.peer, identity };
}

function refused(address: string, { reason, detail }: PeerRefusal): ConnectProblem {
  return { kind: 'PEER_REFUSED', address, peerReason: reason, detail: `${reason}: ${detail}` };
}
