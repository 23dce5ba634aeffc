import type { PeerRefusalReason } from '@gatehouse/identity';

export type ConnectProblemKind =
  /** Nobody listens: connection refused, or no such Unix socket. */
  | 'REFUSED'
  /** The name does not resolve, the network is down, permission is denied. */
  | 'UNREACHABLE'
  /** No usable connection within the time. */
  | 'TIMED_OUT'
  /** The handshake failed; a peer may have refused our certificate. */
  | 'TLS_FAILED'
  /** The peer's certificate is not acceptable; `peerReason` says why. */
  | 'PEER_REFUSED'
  /** The peer closed before its first frame, as one does that does not want our identity. */
  | 'CLOSED_EARLY'
  /** The peer does not speak HTTP/2. */
  | 'NOT_HTTP2'
  /** The peer's MAX_CONCURRENT_STREAMS is reached on every connection allowed. */
  | 'NO_STREAM_FREE'
  /** As NO_STREAM_FREE, and too many calls wait already. */
  | 'QUEUE_FULL'
  /** The sidecar itself is stopping. */
  | 'STOPPING';

/** Why there is no connection for a call. Nothing of the call has been sent. */
export type ConnectProblem = {
  readonly kind: ConnectProblemKind;
  readonly address: string;
  readonly detail: string;
  /** Set with PEER_REFUSED. */
  readonly peerReason?: PeerRefusalReason;
};

/** Whether a problem is the endpoint's, and not one of load or of ourselves. */
export function speaksAgainstEndpoint({ kind }: ConnectProblem): boolean {
  return kind !== 'NO_STREAM_FREE' && kind !== 'QUEUE_FULL' && kind !== 'STOPPING';
}

/** Reads the error of a socket that never became usable. */
export function problemOf(error: Error, address: string): ConnectProblem {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  // An AggregateError over several addresses of a name has no message of its own.
  return { kind: kindOf(code), address, detail: error.message === '' ? code : error.message };
}

function kindOf(code: string): ConnectProblemKind {
  switch (code) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return 'REFUSED';
    case 'ETIMEDOUT':
      return 'TIMED_OUT';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'CLOSED_EARLY';
    default:
      return code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS') || code === 'EPROTO'
        ? 'TLS_FAILED'
        : 'UNREACHABLE';
  }
}
