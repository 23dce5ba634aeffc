/** One HTTP/2 stream, seen from either role (RFC 9113 §5.1). */
import type { Connection } from './connection.ts';
import { ErrorCode } from './error-code.ts';
import type { Field } from './field.ts';
import type { ReceiveWindow } from './receive-window.ts';
import { SendQueue } from './send-queue.ts';

/** Why a stream ended early. */
export interface StreamReset {
  /**
   * An error code of RFC 9113 §7. NO_ERROR with origin `peer`: a server has answered in full and wants no more of the
   * request; with origin `connection`: the connection was closed without an error.
   */
  readonly code: number;
  /** peer: its RST_STREAM or GOAWAY; local: an error found here; connection: the connection closed under it. */
  readonly origin: 'peer' | 'local' | 'connection';
  /** no: REFUSED_STREAM, an id above GOAWAY's last one, or never given to the socket; safe to send again. */
  readonly processed: 'no' | 'maybe';
  readonly detail: string;
}

/**
 * What a stream tells its owner. One object per call, or one for many; no method may throw: what is thrown ends the
 * connection with INTERNAL_ERROR.
 */
export interface StreamHandler {
  /**
   * The head of the request or response; a second call brings the trailers (then `endStream` is true). Informational
   * responses are dropped. The fields are checked against RFC 9113 §8. The list may be kept and not be changed: messages
   * that are alike share it.
   */
  onHeaders(stream: Stream, fields: readonly Field[], endStream: boolean): void;
  /**
   * Body bytes `chunk[start, end)`, valid during the call only, as they arrive: a DATA frame may come in pieces. Each
   * byte must be given back by `consume` once it is dealt with. Padding is already removed and given back.
   */
  onData(stream: Stream, chunk: Buffer, start: number, end: number, endStream: boolean): void;
  /** Bytes that `sendData` had to queue have left the queue. */
  onSent(stream: Stream, bytes: number): void;
  /** The stream is over before its end, not by our own `reset`. Nothing more comes; unconsumed bytes are given back. */
  onReset(stream: Stream, reset: StreamReset): void;
  /** Both directions ended cleanly and the stream is released. Bytes not yet consumed are still to be consumed. */
  onEnd?(stream: Stream): void;
}

export class Stream {
  readonly id: number;
  readonly connection: Connection;
  handler: StreamHandler;
  /** END_STREAM has been written. */
  localEnded = false;
  /** The peer's END_STREAM has been read. */
  remoteEnded = false;
  /** Released or reset: whatever is sent on it is dropped. */
  closed = false;

  /** @internal Bytes the peer lets us send on this stream; below zero after it shrank its window. */
  sendWindow: number;
  /** @internal */
  readonly receiveWindow: ReceiveWindow;
  /** @internal Data that waits for window or room, null while none ever had to. */
  queue: SendQueue | null = null;
  /** @internal Trailers that wait behind the queue. */
  trailers: readonly Field[] | null = null;
  /** @internal END_STREAM goes with the queue's last byte. */
  endQueued = false;
  /** @internal In the list of streams that may send. */
  isReady = false;
  /** @internal The peer's head has been read. */
  headReceived = false;
  /** @internal Position of the connection's output behind our head, -1 before it is written. */
  headWrittenTo = -1;
  /** @internal Length of the body still to come, declared or none because of the status; -1 when it is not known. */
  contentLeft = -1;
  /** @internal A response to HEAD has no body. */
  isHead = false;
  private unconsumed = 0;
  /** Of those unconsumed, what the connection has had credit for. */
  private lent = 0;

  /** @internal */
  constructor(
    connection: Connection,
    id: number,
    handler: StreamHandler,
    sendWindow: number,
    receiveWindow: ReceiveWindow,
  ) {
    this.connection = connection;
    this.id = id;
    this.handler = handler;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
  }

  /** Bytes given to `sendData` that have not left the queue. */
  get queuedBytes(): number {
    return this.queue === null ? 0 : this.queue.size;
  }

  /**
   * Whether the peer says that it takes a header list as large as this (its SETTINGS_MAX_HEADER_LIST_SIZE). Sending does
   * not ask: it is the owner that knows what can be left out, and what to say instead.
   */
  fits(fields: readonly Field[]): boolean {
    let left = this.connection.remote.headerListBytesMax;
    if (left === Number.POSITIVE_INFINITY) return true;
    for (let i = 0; i < fields.length; i++) left -= (fields[i] as Field).size;
    return left >= 0;
  }

  /**
   * Sends the request's or response's head; with `endStream` there is no body (a trailers-only response).
   * @throws Error when a head was sent already, or when streams send their heads out of the order they were opened in
   */
  sendHeaders(fields: readonly Field[], endStream: boolean): void {
    if (this.closed) return;
    if (this.headWrittenTo >= 0) throw new Error(`stream ${this.id} has sent its head already`);
    this.connection.outbound.sendHead(this, fields, endStream);
  }

  /**
   * Ends the stream with trailers, after all queued data.
   * @throws Error when no head was sent or the stream was ended already
   */
  sendTrailers(fields: readonly Field[]): void {
    if (this.closed) return;
    this.mustBeOpen();
    if (this.queuedBytes > 0) this.trailers = fields;
    else this.connection.outbound.sendTrailers(this, fields);
  }

  /**
   * Sends body bytes `chunk[start, end)`, copying them. What the windows and the output buffer take at once is written
   * with this turn of the loop; the rest is queued without limit, so the caller must bound it by not consuming what it
   * relays until `onSent`.
   * @returns the bytes written at once; `onSent` reports the others. On a closed stream all of them, dropped.
   * @throws Error when no head was sent or the stream was ended already
   */
  sendData(chunk: Buffer, start: number, end: number, endStream: boolean): number {
    if (this.closed) return end - start;
    this.mustBeOpen();
    const waits = this.queue !== null && this.queue.size > 0;
    const written = waits ? 0 : this.connection.outbound.sendData(this, chunk, start, end, endStream);
    const rest = start + written;
    if (rest === end && !waits) return written;
    if (rest < end) {
      this.queue ??= new SendQueue();
      this.queue.push(chunk, rest, end);
    }
    if (endStream) this.endQueued = true;
    this.connection.outbound.schedule(this);
    return written;
  }

  /**
   * Gives flow-control credit for received bytes back to the peer, to the stream's and the connection's window.
   * Also needed for bytes of a stream that ended cleanly, for the connection's sake.
   * @throws RangeError for more bytes than were received and not yet consumed
   */
  consume(bytes: number): void {
    if (bytes > this.unconsumed) {
      if (this.closed) return;
      throw new RangeError(`stream ${this.id} has ${this.unconsumed} bytes to consume, not ${bytes}`);
    }
    this.unconsumed -= bytes;
    const lent = Math.min(bytes, this.lent);
    this.lent -= lent;
    if (bytes > lent) this.connection.credit(bytes - lent);
    if (!this.remoteEnded && !this.closed) this.creditStream(bytes);
  }

  /**
   * Sends RST_STREAM (nothing when no head was sent) and drops queued data; the handler hears nothing more. Bytes not
   * consumed are given back to the connection, also when the stream was closed before. A server that has answered
   * while the request goes on resets with NO_ERROR (RFC 9113 §8.1). Nothing is sent once both sides have ended it.
   */
  reset(code: number): void {
    if (this.closed || (this.localEnded && this.remoteEnded)) this.giveBack();
    else this.connection.streams.reset(this, code);
  }

  /**
   * As `reset`, for a client whose server counts resets: over `resetsSent` the peer is not told before its turn. Until
   * then, or until the peer has ended it, the stream stays open and takes one of the peer's slots.
   * @returns whether it is over at once; else `onGone` follows
   */
  cancel(code: number, onGone: () => void): boolean {
    if (!this.closed && this.connection.streams.postpones(this, code, onGone)) return false;
    this.reset(code);
    return true;
  }

  /**
   * Gives received bytes back to the connection's window, not to the stream's: they are held for a slow reader, whose
   * own stream waits while the others go on. `consume` must follow for the same bytes.
   */
  lend(bytes: number): void {
    this.lent += bytes;
    this.connection.credit(bytes);
  }

  /** Server role: the peer takes too little of what is queued for it. Resets the stream and counts it as abuse. */
  evict(): void {
    if (this.closed) return;
    const { streams } = this.connection;
    streams.fail(this, 'slow-reader', ErrorCode.ENHANCE_YOUR_CALM, 'too much is queued for the peer');
  }

  /** Server role: refuses the stream as if it were over the limit of concurrent streams, and counts it as abuse. */
  refuse(): void {
    if (this.closed) return;
    this.connection.streams.fail(this, 'too-many-streams', ErrorCode.REFUSED_STREAM, 'too many streams');
  }

  /** @internal Counts received bytes that are handed to the handler. */
  received(bytes: number): void {
    this.unconsumed += bytes;
  }

  /** @internal Credits bytes on the stream's window alone. */
  creditStream(bytes: number): void {
    const increment = this.receiveWindow.give(bytes);
    if (increment > 0) this.connection.outbound.windowUpdate(this.id, increment);
  }

  /** @internal Credits everything unconsumed to the connection. */
  giveBack(): void {
    if (this.unconsumed > this.lent) this.connection.credit(this.unconsumed - this.lent);
    this.unconsumed = 0;
    this.lent = 0;
  }

  /** @internal Drops what waits to be sent. */
  drop(): void {
    this.queue?.clear();
    this.trailers = null;
    this.endQueued = false;
  }

  private mustBeOpen(): void {
    if (this.headWrittenTo < 0) throw new Error(`stream ${this.id} has sent no head`);
    if (this.localEnded || this.endQueued || this.trailers !== null)
      throw new Error(`stream ${this.id} has ended`);
  }
}

/** @internal The reset of a stream that the peer has certainly not acted on. */
export function isUnprocessed(code: number): boolean {
  return code === ErrorCode.REFUSED_STREAM;
}
