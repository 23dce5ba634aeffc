import { parseAddress } from '@gatehouse/sockets';
import type { ConnectionSettings, Stream, StreamHandler } from '../http2/index.ts';
import type { ConnectProblem } from './connect-problem.ts';
import type { PoolOptions } from './connection-pool.ts';
import { ConnectionPool, defaultPoolOptions } from './connection-pool.ts';
import { dialPlain } from './dial.ts';

export type AppPoolParts = {
  /** `unix:/path` or a loopback `host:port`. */
  readonly address: string;
  /** Connections in all, from 1. */
  readonly connectionsMax: number;
  readonly settings: ConnectionSettings;
  /** A connection without a call for this long is closed. Default 60,000. */
  readonly idleMsMax?: number;
  /** Milliseconds since the epoch, with fractions, never going back. */
  readonly clock: () => number;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly pool?: Partial<Omit<PoolOptions, 'connectionsMax'>>;
};

const IDLE_MS_MAX = 60_000;

/** What spreads callers over connections: made of the identity, once for each of its connections. */
export type CallerHash = number;

type AppPoolView = {
  readonly address: string;
  readonly connections: number;
  readonly streamsActive: number;
};

/**
 * The plaintext connections to the own app. Callers are spread over a few of them by their identity: what one caller
 * provokes (a GOAWAY for its resets, a full connection) does not touch those on the other connections.
 */
export type AppPool = {
  /** Opens a stream at once, or returns null: then await `ready`. */
  openStream(caller: CallerHash, handler: StreamHandler): Stream | null;
  /** Resolves with null when a stream can be opened, else with the problem; see {@link ConnectionPool.ready}. */
  ready(caller: CallerHash, timeoutMs: number): Promise<ConnectProblem | null>;
  view(): AppPoolView;
  /** Takes no new calls; resolves when every connection has ended. */
  drain(): Promise<void>;
  /** Cuts every connection and ends every timer. */
  close(): void;
};

export function createAppPool(parts: AppPoolParts): AppPool {
  const { address, clock, random, idleMsMax = IDLE_MS_MAX } = parts;
  const settings = { ...parts.settings, idleTimeoutMs: idleMsMax };
  const options = { ...defaultPoolOptions, ...parts.pool, connectionsMax: 1 };
  const dial = dialPlain(address, parseAddress(address));
  const pools = Array.from(
    { length: parts.connectionsMax },
    () => new ConnectionPool({ name: address, dial, settings, options, clock, random }),
  );
  const poolOf = (caller: CallerHash): ConnectionPool => pools[caller % pools.length] as ConnectionPool;
  return {
    openStream: (caller, handler) => poolOf(caller).openStream(handler),
    ready: (caller, timeoutMs) => poolOf(caller).ready(timeoutMs),
    view: () => ({
      address,
      connections: pools.reduce((sum, pool) => sum + pool.connections, 0),
      streamsActive: pools.reduce((sum, pool) => sum + pool.activeStreams, 0),
    }),
    drain: async () => {
      await Promise.all(pools.map((pool) => pool.drain()));
    },
    close: () => {
      for (const pool of pools) {
        pool.close();
      }
    },
  };
}

/** FNV-1a over the UTF-16 units of an identity: identities are public, so it need not resist chosen ones. */
export function callerHash(identity: string): CallerHash {
  let value = 0x811c9dc5;
  for (let index = 0; index < identity.length; index += 1) {
    value = Math.imul(value ^ identity.charCodeAt(index), 0x01000193);
  }
  return value >>> 0;
}
