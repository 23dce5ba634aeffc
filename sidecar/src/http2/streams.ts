/** The streams of a connection: their ids, their opening and their ends (RFC 9113 §5.1). */
import type { ViolationKind } from './abuse-guard.ts';
import { ClosedStreams, Closing } from './closed-streams.ts';
import type { Connection } from './connection.ts';
import { Departures } from './departures.ts';
import { ErrorCode } from './error-code.ts';
import { STREAM_ID_LARGEST, WINDOW_BYTES_INITIAL, WINDOW_BYTES_LARGEST } from './frame-types.ts';
import { ReceiveWindow } from './receive-window.ts';
import { Stream, type StreamHandler, type StreamReset } from './stream.ts';
import { StreamTable } from './stream-table.ts';

/** What there is to tell every stream when the connection closes under it. */
export interface ConnectionLoss {
  readonly code: number;
  readonly detail: string;
  /** Position of the output up to which a peer may have read; heads beyond it were never sent. */
  readonly writtenTo: number;
}

const UNSET_HANDLER: StreamHandler = { onHeaders() {}, onData() {}, onSent() {}, onReset() {} };

export class Streams {
  /** Highest id that the client at the other end has used. */
  newestPeerId = 0;
  private readonly connection: Connection;
  private readonly open = new StreamTable();
  private readonly closed = new ClosedStreams();
  private nextOwnId = 1;
  /** Highest id of the client that is served: all, until the last GOAWAY fixes it. */
  private lastServedId = STREAM_ID_LARGEST;
  private acknowledged = false;
  private departures: Departures | null = null;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  get size(): number {
    return this.open.size;
  }

  get idsExhausted(): boolean {
    return this.nextOwnId > STREAM_ID_LARGEST;
  }

  get(streamId: number): Stream | undefined {
    return this.open.get(streamId);
  }

  /** The stream has never been used by the side that opens such ids; servers open none, since push is off. */
  isIdle(streamId: number): boolean {
    if (streamId % 2 === 0) return true;
    return this.connection.isServer ? streamId > this.newestPeerId : streamId >= this.nextOwnId;
  }

  /** How a stream that is neither idle nor open ended: one of Closing. */
  closing(streamId: number): number {
    return this.closed.lookup(streamId, this.connection.isServer ? this.newestPeerId : this.nextOwnId - 2);
  }

  openOwn(handler: StreamHandler): Stream {
    const stream = this.add(this.nextOwnId, handler);
    this.nextOwnId += 2;
    return stream;
  }

  /** Notes a new id of the client; false when it came after our last GOAWAY and is to be ignored. */
  takesPeerStream(streamId: number): boolean {
    this.newestPeerId = streamId;
    if (streamId <= this.lastServedId) return true;
    this.closed.record(streamId, Closing.RESET_HERE);
    return false;
  }

  /** Opens the client's stream, or refuses it and returns null. */
  accept(streamId: number): Stream | null {
    const { handler, settings } = this.connection;
    if (this.open.size >= settings.maxConcurrentStreams || handler.onStream === undefined) {
      // Before it acknowledges our SETTINGS the client cannot know the limit.
      if (this.acknowledged)
        this.failId(streamId, 'too-many-streams', ErrorCode.REFUSED_STREAM, 'too many streams');
      else this.refuse(streamId, ErrorCode.REFUSED_STREAM);
      return null;
    }
    const stream = this.add(streamId, UNSET_HANDLER);
    stream.handler = handler.onStream(stream);
    return stream.closed ? null : stream;
  }

  /** Fixes the last id that is served; false when that was done before. */
  stopAccepting(): boolean {
    if (this.lastServedId !== STREAM_ID_LARGEST) return false;
    this.lastServedId = this.newestPeerId;
    return true;
  }

  /** All streams have ended and no more can come. */
  get isDrained(): boolean {
    return this.open.size === 0 && (!this.connection.isServer || this.lastServedId !== STREAM_ID_LARGEST);
  }

  endLocal(stream: Stream): void {
    stream.localEnded = true;
    this.releaseIfEnded(stream);
  }

  releaseIfEnded(stream: Stream): void {
    if (!stream.localEnded || !stream.remoteEnded || stream.closed) return;
    this.remove(stream, Closing.ENDED);
    stream.handler.onEnd?.(stream);
    this.connection.afterStream();
  }

  /** The owner's own reset. */
  reset(stream: Stream, code: number): void {
    if (this.connection.isServer || stream.headWrittenTo >= 0)
      this.connection.outbound.reset(stream.id, code);
    this.drop(stream, Closing.RESET_HERE);
    this.connection.afterStream();
  }

  /** Keeps a stream open that its owner has left, when too many resets have gone to the server; false when not. */
  postpones(stream: Stream, code: number, onGone: () => void): boolean {
    const { connection } = this;
    if (connection.isServer || stream.headWrittenTo < 0 || (stream.localEnded && stream.remoteEnded))
      return false;
    const nowMs = connection.nowMs();
    this.departures ??= new Departures(connection.settings.resetsSent, nowMs);
    if (this.departures.allows(nowMs)) return false;
    this.departures.add(stream, code, onGone);
    stream.drop();
    stream.giveBack();
    return true;
  }

  /** Resets as many of the streams that were left as the rate allows. */
  sendPostponed(nowMs: number): void {
    this.departures?.send(nowMs, (stream, code) => this.reset(stream, code));
  }

  /** Ends a stream early and tells its handler. */
  close(stream: Stream, closing: number, reset: StreamReset): void {
    this.drop(stream, closing);
    stream.handler.onReset(stream, reset);
    this.connection.afterStream();
  }

  /** A stream error (RFC 9113 §5.4.2) that the peer made. */
  fail(stream: Stream, kind: ViolationKind, code: number, detail: string): void {
    this.connection.outbound.reset(stream.id, code);
    this.close(stream, Closing.RESET_HERE, { code, origin: 'local', processed: 'maybe', detail });
    this.connection.provoked(kind);
  }

  /** The same for a stream that may not be open; on an idle one it is a connection error. */
  failId(streamId: number, kind: ViolationKind, code: number, detail: string): void {
    const stream = this.open.get(streamId);
    if (stream !== undefined) return this.fail(stream, kind, code, detail);
    if (this.isIdle(streamId)) return this.connection.fail(kind, code, detail);
    this.refuse(streamId, code);
    this.connection.provoked(kind);
  }

  /** GOAWAY: the server will not answer streams above an id. */
  abandonAbove(lastStreamId: number): void {
    for (const stream of this.open.values()) {
      if (stream.id <= lastStreamId) continue;
      this.close(stream, Closing.RESET_HERE, {
        code: ErrorCode.REFUSED_STREAM,
        origin: 'peer',
        processed: 'no',
        detail: 'above the last stream of GOAWAY',
      });
    }
  }

  abandonAll(loss: ConnectionLoss): void {
    for (const stream of this.open.values()) {
      const isUnsent = stream.headWrittenTo < 0 || stream.headWrittenTo > loss.writtenTo;
      this.close(stream, Closing.RESET_HERE, {
        code: loss.code,
        origin: 'connection',
        processed: isUnsent && !this.connection.isServer ? 'no' : 'maybe',
        detail: loss.detail,
      });
    }
  }

  /** The peer has acknowledged our SETTINGS; from now on it must go by our window (RFC 9113 §6.9.2). */
  settingsAcknowledged(): void {
    this.acknowledged = true;
    const target = this.connection.settings.initialStreamWindowBytes;
    const excess = WINDOW_BYTES_INITIAL - target;
    if (excess <= 0) return;
    for (const stream of this.open.values()) stream.receiveWindow.shift(-excess);
  }

  /** The peer changed its SETTINGS_INITIAL_WINDOW_SIZE; false when that overflows a window. */
  shiftSendWindows(bytes: number): boolean {
    for (const stream of this.open.values()) {
      stream.sendWindow += bytes;
      if (stream.sendWindow > WINDOW_BYTES_LARGEST) return false;
      if (stream.queuedBytes > 0) this.connection.outbound.schedule(stream);
    }
    return true;
  }

  /** Resets streams whose peer has not made room for their queued data in time. */
  resetStalled(nowMs: number): void {
    const { streamStallTimeoutMs } = this.connection.settings;
    for (const stream of this.open.values()) {
      if (stream.queue === null || stream.queue.stalledMs(nowMs) < streamStallTimeoutMs) continue;
      this.fail(stream, 'slow-reader', ErrorCode.ENHANCE_YOUR_CALM, 'no window for queued data in time');
    }
  }

  private add(streamId: number, handler: StreamHandler): Stream {
    const { settings, remote } = this.connection;
    const target = settings.initialStreamWindowBytes;
    // Until the peer acknowledges our SETTINGS it may still go by the initial window (RFC 9113 §6.9.3).
    const open = this.acknowledged ? target : Math.max(target, WINDOW_BYTES_INITIAL);
    const window = new ReceiveWindow(open, target);
    const stream = new Stream(this.connection, streamId, handler, remote.initialWindowBytes, window);
    this.open.add(stream);
    return stream;
  }

  private refuse(streamId: number, code: number): void {
    this.connection.outbound.reset(streamId, code);
    this.closed.record(streamId, Closing.RESET_HERE);
  }

  private drop(stream: Stream, closing: number): void {
    this.remove(stream, closing);
    stream.drop();
    stream.giveBack();
  }

  private remove(stream: Stream, closing: number): void {
    stream.closed = true;
    this.open.delete(stream.id);
    this.closed.record(stream.id, closing);
  }
}
