import type { ConnectionPeer } from './connection-peer.ts';

/** What one caller's connection may always have, however much others hold. */
const SHARE_BYTES_MIN = 65_536;

/**
 * Response bytes that wait for callers who read slowly. A connection may hold as many as are free: alone half of the
 * limit, and less for each the more hold some. So whoever takes nothing can use up only what nobody needs.
 */
export class ResponseBacklog {
  readonly limitBytes: number;
  #heldBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Counts bytes that wait; `leave` must follow for as many. @returns false when that is more than the caller's share */
  add(peer: ConnectionPeer, bytes: number): boolean {
    this.#heldBytes += bytes;
    peer.backlogBytes += bytes;
    return peer.backlogBytes <= Math.max(SHARE_BYTES_MIN, this.limitBytes - this.#heldBytes);
  }

  /** The bytes have left, or were dropped. */
  leave(peer: ConnectionPeer, bytes: number): void {
    this.#heldBytes -= bytes;
    peer.backlogBytes -= bytes;
  }
}
