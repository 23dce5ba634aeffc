import type { Stream, StreamHandler } from '../http2/index.ts';
import type { BreakerChange, BreakerOptions, BreakerView, FailureCause, Outcome, Permit } from './breaker.ts';
import { Breaker } from './breaker.ts';
import type { ConnectProblem } from './connect-problem.ts';
import { speaksAgainstEndpoint } from './connect-problem.ts';
import type { ConnectionPool } from './connection-pool.ts';
import { LoadEstimate } from './load-estimate.ts';

export type EndpointParts = {
  readonly address: string;
  readonly pool: ConnectionPool;
  readonly breaker: BreakerOptions;
  /** Milliseconds since the epoch, with fractions, never going back. */
  readonly clock: () => number;
  readonly onBreakerChange: (change: BreakerChange) => void;
};

export type EndpointView = {
  readonly address: string;
  readonly breaker: BreakerView;
  readonly callsActive: number;
  /** Connections that take calls. */
  readonly connections: number;
  /** Recent time to the first response message; a failure weighs as 30 s. */
  readonly latencyMs: number;
};

/** One address of an upstream, with its connections, its circuit breaker and its load. */
export class Endpoint {
  readonly address: string;
  readonly pool: ConnectionPool;
  /** @internal */
  readonly breaker: Breaker;
  /** @internal */
  readonly load = new LoadEstimate();
  /** @internal */
  readonly clock: () => number;
  private onUnused: (() => void) | null = null;
  private drained: Promise<void> | null = null;

  constructor(parts: EndpointParts) {
    this.address = parts.address;
    this.pool = parts.pool;
    this.clock = parts.clock;
    this.breaker = new Breaker(parts.breaker, parts.clock, parts.onBreakerChange);
  }

  get admits(): boolean {
    return this.breaker.admits;
  }

  get wantsProbe(): boolean {
    return this.breaker.wantsProbe;
  }

  cost(nowMs: number): number {
    return this.load.cost(nowMs);
  }

  /** @returns null when the breaker does not admit a call */
  begin(): Attempt | null {
    return this.attempt(this.breaker.admit());
  }

  /** As `begin`, and through an open breaker one call at a time. */
  beginInPanic(): Attempt | null {
    return this.attempt(this.breaker.admitInPanic());
  }

  view(): EndpointView {
    return {
      address: this.address,
      breaker: this.breaker.view(),
      callsActive: this.load.callsActive,
      connections: this.pool.connections,
      latencyMs: this.load.latency(this.clock()),
    };
  }

  /** Calls back once no call is in progress here, unless it is asked to stay before that. */
  retire(onUnused: () => void): void {
    this.onUnused = onUnused;
    this.checkUnused();
  }

  stay(): void {
    this.onUnused = null;
  }

  /** Takes no new calls; resolves when every connection has ended. May be asked for again. */
  drain(): Promise<void> {
    this.drained ??= this.pool.drain();
    return this.drained;
  }

  close(): void {
    this.breaker.close();
    this.pool.close();
  }

  /** @internal */
  checkUnused(): void {
    if (this.onUnused === null || this.load.callsActive > 0) {
      return;
    }
    const { onUnused } = this;
    this.onUnused = null;
    onUnused();
  }

  private attempt(permit: Permit | null): Attempt | null {
    return permit === null ? null : new Attempt(this, permit);
  }
}

/** One try of one call at one endpoint. Whoever has it must `release` it. */
export class Attempt {
  readonly endpoint: Endpoint;
  private readonly permit: Permit;
  private readonly begunAtMs: number;
  private problem: ConnectProblem | null = null;
  private settled = false;
  private released = false;

  constructor(endpoint: Endpoint, permit: Permit) {
    this.endpoint = endpoint;
    this.permit = permit;
    this.begunAtMs = endpoint.clock();
    endpoint.load.begin();
  }

  /** Opens a stream at once, or returns null when no connection has one to give: then await `ready`. */
  openStream(handler: StreamHandler): Stream | null {
    return this.endpoint.pool.openStream(handler);
  }

  /** Resolves with null when a stream can be opened, else with the problem; see {@link ConnectionPool.ready}. */
  async ready(timeoutMs: number): Promise<ConnectProblem | null> {
    this.problem = await this.endpoint.pool.ready(timeoutMs);
    return this.problem;
  }

  /**
   * Tells how the call went: at its first response message or its final status, whichever is first. Only the first
   * report counts. A call that found no connection because all are full, or are being closed, is neutral even when
   * reported as a failure to connect: that says nothing about the endpoint.
   *
   * @param cause why it failed; default 'internal'
   */
  settle(outcome: Outcome, cause: FailureCause = 'internal'): void {
    if (this.settled) {
      return;
    }
    this.settled = true;
    const { breaker, load, clock } = this.endpoint;
    const isOurs = cause === 'connect' && this.problem !== null && !speaksAgainstEndpoint(this.problem);
    const counted = isOurs ? 'neutral' : outcome;
    breaker.settle(this.permit, counted, cause);
    if (counted !== 'neutral') {
      const nowMs = clock();
      load.observe(counted === 'success', nowMs - this.begunAtMs, nowMs);
    }
  }

  /** The call is over here: its place is free. Counts as neutral when it was not settled before. */
  release(): void {
    if (this.released) {
      return;
    }
    this.released = true;
    this.settle('neutral');
    this.endpoint.load.end();
    this.endpoint.checkUnused();
  }
}
