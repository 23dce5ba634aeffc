import type { IdentitySource, PeerIdentity } from '@gatehouse/identity';
import { isStillTrusted } from '@gatehouse/identity';
import { parseAddress } from '@gatehouse/sockets';
import type { ConnectionSettings } from '../http2/index.ts';
import type { BreakerChange, BreakerOptions } from './breaker.ts';
import { defaultBreakerOptions } from './breaker.ts';
import type { PoolOptions } from './connection-pool.ts';
import { ConnectionPool, defaultPoolOptions } from './connection-pool.ts';
import { dialTls } from './dial.ts';
import { Endpoint } from './endpoint.ts';
import type { RetryBudgetOptions } from './retry-budget.ts';
import { defaultRetryBudgetOptions, RetryBudget } from './retry-budget.ts';
import type { UpstreamView } from './upstream.ts';
import { Upstream } from './upstream.ts';

export type UpstreamConfig = {
  /** The `:authority` that apps dial, as they write it. */
  readonly name: string;
  /** The SPIFFE ID that every endpoint must show. */
  readonly identity: string;
  /** `host:port` or `unix:/path`: those known at the start. */
  readonly endpoints: readonly string[];
};

export type UpstreamsParts = {
  readonly identity: IdentitySource;
  readonly settings: ConnectionSettings;
  /** Milliseconds since the epoch, with fractions, never going back. */
  readonly clock: () => number;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly onBreakerChange: (upstream: string, endpoint: string, change: BreakerChange) => void;
  readonly breaker?: Partial<BreakerOptions>;
  readonly pool?: Partial<PoolOptions>;
  readonly retryBudget?: Partial<RetryBudgetOptions>;
};

export type Upstreams = {
  /** Exactly by name; undefined for an authority that nobody configured. */
  get(authority: string): Upstream | undefined;
  /** Makes these addresses the present endpoints of the upstream of this name; see {@link Upstream.setEndpoints}. */
  setEndpoints(name: string, addresses: readonly string[]): void;
  views(): UpstreamView[];
  /** Takes no new calls; resolves when every connection has ended. */
  drain(): Promise<void>;
  /** Cuts every connection and ends every timer. */
  close(): void;
};

/** How often connections are checked against certificates and the bundle. */
const MAINTENANCE_MS = 5_000;

export function createUpstreams(configs: readonly UpstreamConfig[], parts: UpstreamsParts): Upstreams {
  const upstreams = new Map(configs.map((config) => [config.name, openUpstream(config, parts)]));
  const all = () => [...upstreams.values()].flatMap((upstream) => upstream.all);
  let closed = false;
  const maintain = (): void => {
    const trust = parts.identity.current();
    const trusts = (peer: PeerIdentity): boolean => isStillTrusted(peer, trust, parts.clock());
    for (const { pool } of all()) {
      pool.maintain({ generation: trust.generation, trusts });
    }
  };
  const unsubscribe = parts.identity.subscribe(maintain);
  const maintenance = setInterval(maintain, MAINTENANCE_MS);
  maintenance.unref();
  return {
    get: (authority) => upstreams.get(authority),
    setEndpoints: (name, addresses) => {
      if (!closed) {
        upstreams.get(name)?.setEndpoints(addresses);
      }
    },
    views: () => [...upstreams.values()].map((upstream) => upstream.view()),
    drain: async () => {
      closed = true;
      await Promise.all(all().map((endpoint) => endpoint.drain()));
    },
    close: () => {
      closed = true;
      unsubscribe();
      clearInterval(maintenance);
      for (const endpoint of all()) {
        endpoint.close();
      }
    },
  };
}

function openUpstream({ name, identity, endpoints }: UpstreamConfig, parts: UpstreamsParts): Upstream {
  const { clock, random } = parts;
  const retryBudget = new RetryBudget({ ...defaultRetryBudgetOptions, ...parts.retryBudget }, clock);
  const upstream = new Upstream({
    name,
    identity,
    clock,
    random,
    retryBudget,
    openEndpoint: (address) => openEndpoint(address, { name, identity }, parts),
  });
  upstream.setEndpoints(endpoints);
  return upstream;
}

function openEndpoint(
  address: string,
  of: { name: string; identity: string },
  parts: UpstreamsParts,
): Endpoint {
  const { clock, random, settings } = parts;
  const dial = dialTls({
    name: address,
    address: parseAddress(address),
    peerSpiffeId: of.identity,
    identity: () => parts.identity.current(),
    clock,
  });
  const options = { ...defaultPoolOptions, ...parts.pool };
  return new Endpoint({
    address,
    clock,
    pool: new ConnectionPool({ name: address, dial, settings, options, clock, random }),
    breaker: { ...defaultBreakerOptions, ...parts.breaker },
    onBreakerChange: (change) => parts.onBreakerChange(of.name, address, change),
  });
}
