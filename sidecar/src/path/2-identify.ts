import type { Accepted } from './1-accept.ts';
import type { ConnectionPeer } from './connection-peer.ts';
import type { Refusal } from './refusal.ts';

/** A call whose connection has proven who is at its other end. */
export type Identified = Accepted & { readonly peer: ConnectionPeer };

/**
 * Takes the workload identity that the handshake proved. It was verified once per connection; here it is only asked
 * whether it still holds, because a connection may outlive its certificate.
 */
export function identify(call: Accepted, peer: ConnectionPeer): Identified | Refusal {
  if (peer.staleness !== null) return { kind: 'identity-stale', reason: peer.staleness };
  if (peer.notAfterMs <= call.startedAtMs) return { kind: 'identity-stale', reason: 'EXPIRED' };
  call.peer = peer;
  return call as Identified;
}
