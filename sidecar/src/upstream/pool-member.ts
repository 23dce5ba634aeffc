import type { PeerIdentity } from '@gatehouse/identity';
import type {
  ConnectionClose,
  ConnectionHandler,
  ConnectionSettings,
  Stream,
  StreamHandler,
} from '../http2/index.ts';
import { Connection, ErrorCode } from '../http2/index.ts';
import type { ConnectProblem } from './connect-problem.ts';
import { problemOf } from './connect-problem.ts';
import type { Dial, Dialled } from './dial.ts';

export type MemberParts = {
  readonly name: string;
  readonly settings: ConnectionSettings;
  /** Streams after which the connection drains. */
  readonly streamsOpenedMax: number;
  /** Milliseconds since the epoch, never going back. */
  readonly clock: () => number;
  /** From 0 to below 1. */
  readonly random: () => number;
};

/** What a member tells its pool. Either `onProblem`, or `onReady` and later `onClose`. */
export type MemberEvents = {
  onReady(member: Member): void;
  onProblem(problem: ConnectProblem): void;
  /** A stream has become free after one was asked for in vain. */
  onFree(): void;
  /** It opens no more streams: the peer has said so, or it has opened as many as it may. */
  onDraining(member: Member): void;
  /** @param problem null when we closed it in good order: drained, or idle for long */
  onClose(member: Member, problem: ConnectProblem | null): void;
};

/** Share of the shorter certificate's remaining life after which a connection is replaced. */
const RENEW_AFTER = 0.8;
/** Spreads renewals of many connections. */
const RENEW_JITTER = 0.1;
/** With less life left than this at the start, nothing is renewed: there is no better certificate to be had. */
const RENEWABLE_MS_MIN = 5_000;

/** For a stream that is asked for only to be told when one is free. */
const NEVER_OPENED: StreamHandler = { onHeaders() {}, onData() {}, onSent() {}, onReset() {} };

/** One connection of a pool, from the first dial to its end. */
export class Member implements ConnectionHandler {
  connection: Connection | null = null;
  peer: PeerIdentity | null = null;
  /** Of our identity that was shown; 0 on plaintext. */
  generation = 0;
  readyAtMs = 0;
  /** From then on a newer connection should take over. */
  renewAtMs: number = Number.POSITIVE_INFINITY;
  private readonly parts: MemberParts;
  private readonly events: MemberEvents;
  private abortDial: () => void = () => {};
  private dialTimer: NodeJS.Timeout | null = null;
  private cutTimer: NodeJS.Timeout | null = null;
  private isReady = false;
  private opened = 0;

  constructor(parts: MemberParts, events: MemberEvents) {
    this.parts = parts;
    this.events = events;
  }

  /** Streams open, or infinity when no more can be opened. */
  get load(): number {
    const { connection } = this;
    return connection === null || connection.availableStreams === 0
      ? Number.POSITIVE_INFINITY
      : connection.activeStreams;
  }

  get streamsFree(): number {
    return this.connection?.availableStreams ?? 0;
  }

  /**
   * Dials and waits for the peer's first frame. A TLS 1.3 client has finished before the server has judged its
   * certificate, so only that frame tells that the server wants to talk to us, and that it speaks HTTP/2 at all.
   */
  dial(dial: Dial, timeoutMs: number): void {
    this.dialTimer = setTimeout(() => {
      const detail = this.connection === null ? 'no connection' : 'no HTTP/2 frame from the peer';
      this.failDial({ kind: 'TIMED_OUT', address: this.parts.name, detail: `${detail} in ${timeoutMs} ms` });
    }, timeoutMs);
    this.abortDial = dial((result) => {
      if ('problem' in result) {
        this.failDial(result.problem);
      } else {
        this.onDialled(result);
      }
    });
  }

  /** Gives the dial up without a word. */
  abort(): void {
    this.endDial();
    this.abortDial();
    this.connection?.destroy(ErrorCode.NO_ERROR, '');
  }

  openStream(handler: StreamHandler): Stream | null {
    const stream = this.connection?.openStream(handler) ?? null;
    if (stream !== null) {
      this.opened += 1;
      if (this.opened === this.parts.streamsOpenedMax) {
        this.drain();
        this.events.onDraining(this);
      }
    }
    return stream;
  }

  /** Sees to it that `onFree` comes with the next free stream. */
  askForStream(): void {
    if (this.streamsFree === 0) {
      this.connection?.openStream(NEVER_OPENED);
    }
  }

  /** Opens no more streams and closes when they have ended. */
  drain(): void {
    this.connection?.shutdown();
  }

  /** Cuts what is still open after `graceMs`; later calls change nothing. */
  cut(graceMs: number): void {
    this.cutTimer ??= setTimeout(
      () => this.destroy('the certificate of the peer is no longer valid'),
      graceMs,
    );
  }

  destroy(detail: string): void {
    this.connection?.destroy(ErrorCode.NO_ERROR, detail);
  }

  onGoaway(): void {
    if (this.isReady) {
      this.events.onDraining(this);
    }
  }

  onWritable(): void {
    this.events.onFree();
  }

  onClose(_connection: Connection, reason: ConnectionClose): void {
    if (this.cutTimer !== null) {
      clearTimeout(this.cutTimer);
    }
    if (this.isReady) {
      this.isReady = false;
      const inGoodOrder = reason.origin === 'local' && reason.code === ErrorCode.NO_ERROR;
      this.events.onClose(this, inGoodOrder ? null : this.problemOfClose(reason));
    } else {
      this.failDial(this.problemOfClose(reason));
    }
  }

  private onDialled({ socket, input, peer, identity }: Dialled): void {
    this.peer = peer;
    this.generation = identity?.generation ?? 0;
    const connection = Connection.client(socket, this, this.parts.settings);
    this.connection = connection;
    input.attach((chunk, length) => {
      connection.receive(chunk, length);
      if (!this.isReady && !connection.closed && this.dialTimer !== null) {
        this.onFirstFrame(identity === null ? null : identity.notAfterMs);
      }
    });
  }

  private onFirstFrame(ownNotAfterMs: number | null): void {
    if (this.connection?.draining === true) {
      this.failDial({
        kind: 'CLOSED_EARLY',
        address: this.parts.name,
        detail: 'the peer takes no calls (GOAWAY)',
      });
      return;
    }
    this.endDial();
    this.isReady = true;
    this.readyAtMs = this.parts.clock();
    if (this.peer !== null && ownNotAfterMs !== null) {
      const lifeMs = Math.min(this.peer.notAfterMs, ownNotAfterMs) - this.readyAtMs;
      const share = RENEW_AFTER - RENEW_JITTER * this.parts.random();
      this.renewAtMs = lifeMs < RENEWABLE_MS_MIN ? this.renewAtMs : this.readyAtMs + lifeMs * share;
    }
    this.events.onReady(this);
  }

  private failDial(problem: ConnectProblem): void {
    if (this.dialTimer !== null) {
      this.abort();
      this.events.onProblem(problem);
    }
  }

  private endDial(): void {
    if (this.dialTimer !== null) {
      clearTimeout(this.dialTimer);
      this.dialTimer = null;
    }
  }

  private problemOfClose(reason: ConnectionClose): ConnectProblem {
    const address = this.parts.name;
    if (reason.origin === 'socket' && reason.cause instanceof Error) {
      return problemOf(reason.cause, address);
    }
    const kind =
      reason.origin === 'local' && reason.code !== ErrorCode.NO_ERROR ? 'NOT_HTTP2' : 'CLOSED_EARLY';
    return { kind, address, detail: reason.detail };
  }
}
