import type { PeerIdentity } from '@gatehouse/identity';
import type { ConnectionSettings, Stream, StreamHandler } from '../http2/index.ts';
import type { ConnectProblem, ConnectProblemKind } from './connect-problem.ts';
import type { Dial } from './dial.ts';
import { Member } from './pool-member.ts';
import { WaitQueue } from './wait-queue.ts';

export type PoolOptions = {
  /** Connections in use at once; more than one only when the peer's MAX_CONCURRENT_STREAMS is reached. Default 4, from 1. */
  readonly connectionsMax: number;
  /** Streams after which a connection is replaced. Default 10^9: stream ids end at 2^30 (RFC 9113 §5.1.1). */
  readonly streamsOpenedMax: number;
  /** Calls waiting for a connection or a stream. Default 1,024, from 0. */
  readonly waitersMax: number;
  /** From dialling to the peer's first HTTP/2 frame. Default 5,000. */
  readonly dialMsMax: number;
  /** Wait before the next dial after a first failure; doubles, with jitter. Default 50. */
  readonly backoffMs: number;
  /** Where the doubling ends. Default 2,000: below a breaker's open time, so that its probe really dials. */
  readonly backoffMsMax: number;
  /** A connection that ended sooner counts as a failed dial for the backoff. Default 1,000. */
  readonly stableMs: number;
  /** After this time without a call a lost connection is not replaced until a call asks. Default 10,000. */
  readonly inUseMs: number;
  /** How long the streams of a connection that must not be used any more may go on. Default 10,000. */
  readonly cutMs: number;
};

export const defaultPoolOptions: PoolOptions = Object.freeze({
  connectionsMax: 4,
  streamsOpenedMax: 1_000_000_000,
  waitersMax: 1_024,
  dialMsMax: 5_000,
  backoffMs: 50,
  backoffMsMax: 2_000,
  stableMs: 1_000,
  inUseMs: 10_000,
  cutMs: 10_000,
});

export type PoolParts = {
  /** The address, as it stands in problems. */
  readonly name: string;
  readonly dial: Dial;
  readonly settings: ConnectionSettings;
  readonly options: PoolOptions;
  /** Milliseconds since the epoch, never going back. */
  readonly clock: () => number;
  /** From 0 to below 1. */
  readonly random: () => number;
};

/** What a pool needs to know to judge whether its connections may go on. */
export type Validity = {
  /** Number of our own identity; connections made with an older one are replaced. */
  readonly generation: number;
  readonly trusts: (peer: PeerIdentity) => boolean;
};

/**
 * The HTTP/2 connections to one address. It dials when a call asks, replaces what is draining while old streams
 * finish, and never sends anything of a call itself: `openStream` gives a stream at once or null, `ready` waits.
 *
 * A failed dial fails every call that waits, and calls fail at once until the backoff has passed: another endpoint
 * may well answer. There is no timer but that of a dial and of each waiting call.
 */
export class ConnectionPool {
  private readonly parts: PoolParts;
  private readonly waiters: WaitQueue;
  /** Take new streams. */
  private readonly members: Member[] = [];
  /** Finish their streams. */
  private readonly retired = new Set<Member>();
  private dialling: Member | null = null;
  private failures = 0;
  private dialNotBeforeMs = 0;
  private lastProblem: ConnectProblem | null = null;
  private stopping = false;
  private onIdle: (() => void) | null = null;
  private usedAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: PoolParts) {
    this.parts = parts;
    this.waiters = new WaitQueue(parts.options.waitersMax, () => this.serve());
  }

  /** Connections that take new streams. */
  get connections(): number {
    return this.members.length;
  }

  /** Streams open on all connections. */
  get activeStreams(): number {
    return [...this.members, ...this.retired].reduce(
      (sum, { connection }) => sum + (connection?.activeStreams ?? 0),
      0,
    );
  }

  /** No connection, no dial, nobody waiting. */
  get isEmpty(): boolean {
    return (
      this.members.length === 0 &&
      this.retired.size === 0 &&
      this.dialling === null &&
      this.waiters.size === 0
    );
  }

  /** Worth a connection that no call has asked for. */
  private get isInUse(): boolean {
    return this.parts.clock() - this.usedAtMs < this.parts.options.inUseMs || this.activeStreams > 0;
  }

  /** Opens a stream on the least busy connection, or returns null: then `ready` dials or waits. */
  openStream(handler: StreamHandler): Stream | null {
    this.usedAtMs = this.parts.clock();
    const member = this.leastBusy();
    const stream = member?.openStream(handler) ?? null;
    if (this.waiters.size > 0) {
      this.serve();
    }
    return stream;
  }

  /**
   * Resolves with null when a stream can be opened, else with the problem. Between the two another call may have
   * taken the stream, so `openStream` may still return null, rarely: ask again within the same time.
   */
  ready(timeoutMs: number): Promise<ConnectProblem | null> {
    if (this.stopping) {
      return Promise.resolve(this.problem('STOPPING', 'the connections to it are being closed'));
    }
    if (this.streamsFree() > this.waiters.awake) {
      return Promise.resolve(null);
    }
    if (this.streamsFree() === 0) {
      this.growIfFull();
    }
    if (this.members.length === 0 && this.dialling === null) {
      return Promise.resolve(this.lastProblem ?? this.problem('CLOSED_EARLY', 'there is no connection'));
    }
    const onTimeout = (): ConnectProblem =>
      this.members.length > 0
        ? this.problem('NO_STREAM_FREE', 'every stream that the peer allows is in use')
        : this.problem('TIMED_OUT', 'no connection within the time');
    const waiting = this.waiters.wait(timeoutMs, onTimeout);
    this.serve();
    return waiting ?? Promise.resolve(this.problem('QUEUE_FULL', 'too many calls wait for a stream'));
  }

  /** Replaces and cuts connections by the current identity and time. Call it on a rotation and every few seconds. */
  maintain({ generation, trusts }: Validity): void {
    const nowMs = this.parts.clock();
    const distrusted = this.members.filter(({ peer }) => peer !== null && !trusts(peer));
    distrusted.forEach((member) => this.retire(member));
    const replaces = this.members.some(
      (member) => member.generation < generation || member.renewAtMs <= nowMs,
    );
    for (const member of this.retired) {
      if (member.peer !== null && !trusts(member.peer)) {
        member.cut(this.parts.options.cutMs);
      }
    }
    if (replaces && this.isInUse) {
      // The old ones serve on until the new one is ready; see `adopt`.
      this.dial();
    } else if (replaces) {
      this.retireOlder(generation, nowMs);
    }
  }

  /** Takes no new streams; resolves when the open ones have ended and every connection is closed. */
  drain(): Promise<void> {
    this.stop();
    this.members.slice().forEach((member) => this.retire(member));
    return new Promise((resolve) => {
      this.onIdle = resolve;
      this.checkIdle();
    });
  }

  /** Cuts everything now. */
  close(): void {
    this.stop();
    for (const member of [...this.members, ...this.retired]) {
      member.destroy('the sidecar is stopping');
    }
  }

  private stop(): void {
    this.stopping = true;
    this.dialling?.abort();
    this.dialling = null;
    this.waiters.fail(this.problem('STOPPING', 'the connections to it are being closed'));
  }

  private leastBusy(): Member | null {
    let least: Member | null = null;
    for (const member of this.members) {
      if (least === null || member.load < least.load) {
        least = member;
      }
    }
    return least;
  }

  private streamsFree(): number {
    return this.members.reduce((sum, member) => sum + member.streamsFree, 0);
  }

  /** Wakes as many waiting calls as there are free streams. */
  private serve(): void {
    if (this.waiters.size === 0) {
      return;
    }
    const free = this.streamsFree();
    this.waiters.wake(free);
    if (free === 0 && this.waiters.size > 0) {
      for (const member of this.members) {
        member.askForStream();
      }
      this.growIfFull();
    }
  }

  private growIfFull(): void {
    if (this.members.length < this.parts.options.connectionsMax) {
      this.dial();
    }
  }

  private dial(): void {
    const { clock, dial, name, options, random, settings } = this.parts;
    if (this.stopping || this.dialling !== null || clock() < this.dialNotBeforeMs) {
      return;
    }
    this.dialling = new Member(
      { name, clock, settings, random, streamsOpenedMax: options.streamsOpenedMax },
      {
        onReady: (member) => this.adopt(member),
        onProblem: (problem) => this.onDialFailed(problem),
        onFree: () => this.serve(),
        onDraining: (member) => this.onDraining(member),
        onClose: (member, problem) => this.onClose(member, problem),
      },
    );
    this.dialling.dial(dial, options.dialMsMax);
  }

  private adopt(member: Member): void {
    this.dialling = null;
    this.retireOlder(member.generation, member.readyAtMs);
    this.members.push(member);
    this.serve();
  }

  /** Lets go of connections that a newer one replaces: made with an older identity, or due for renewal. */
  private retireOlder(generation: number, nowMs: number): void {
    const older = this.members.filter(
      (member) => member.generation < generation || member.renewAtMs <= nowMs,
    );
    older.forEach((member) => this.retire(member));
  }

  private retire(member: Member): void {
    this.remove(member);
    this.retired.add(member);
    member.drain();
  }

  private remove(member: Member): void {
    const index = this.members.indexOf(member);
    if (index >= 0) {
      this.members.splice(index, 1);
    }
  }

  private onDialFailed(problem: ConnectProblem): void {
    this.dialling = null;
    this.backOff(problem);
    if (this.members.length === 0) {
      this.waiters.fail(problem);
    }
    this.checkIdle();
  }

  private onDraining(member: Member): void {
    this.remove(member);
    this.retired.add(member);
    this.replace(this.isInUse);
  }

  private onClose(member: Member, problem: ConnectProblem | null): void {
    const wasInUse = this.members.includes(member);
    this.remove(member);
    this.retired.delete(member);
    const livedMs = this.parts.clock() - member.readyAtMs;
    if (problem !== null && wasInUse && livedMs < this.parts.options.stableMs) {
      this.backOff(problem);
    } else if (wasInUse) {
      this.failures = 0;
    }
    this.replace(problem !== null && this.isInUse);
    this.checkIdle();
  }

  /**
   * With no connection left, dials for the calls that wait, or (`isWanted`) for the next to come. One dial only: after
   * that it is for a call to ask.
   */
  private replace(isWanted: boolean): void {
    if (this.members.length > 0) {
      return;
    }
    if (isWanted || this.waiters.size > 0) {
      this.dial();
    }
    if (this.dialling === null) {
      this.waiters.fail(this.lastProblem ?? this.problem('CLOSED_EARLY', 'the connection has closed'));
    }
  }

  private backOff(problem: ConnectProblem): void {
    const { backoffMs, backoffMsMax } = this.parts.options;
    const waitMs = Math.min(backoffMs * 2 ** this.failures, backoffMsMax);
    this.failures += 1;
    this.lastProblem = problem;
    this.dialNotBeforeMs = this.parts.clock() + waitMs * (0.5 + this.parts.random() / 2);
  }

  private checkIdle(): void {
    if (this.onIdle !== null && this.isEmpty) {
      this.onIdle();
      this.onIdle = null;
    }
  }

  private problem(kind: ConnectProblemKind, detail: string): ConnectProblem {
    return { kind, address: this.parts.name, detail };
  }
}
