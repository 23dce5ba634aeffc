/** An HTTP/2 connection in either role, over a socket that speaks h2 from its first byte (RFC 9113 §3). */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { AbuseGuard, type ViolationKind } from './abuse-guard.ts';
import { ErrorCode } from './error-code.ts';
import { FrameReader } from './frame-reader.ts';
import { PREFACE, SettingId, STREAM_ID_LARGEST, WINDOW_BYTES_INITIAL } from './frame-types.ts';
import { HEADER_TABLE_BYTES_INITIAL, HpackDecoder } from './hpack-decoder.ts';
import { Inbound } from './inbound.ts';
import { Outbound } from './outbound.ts';
import type { OutputOwner } from './output-buffer.ts';
import { ReceiveWindow } from './receive-window.ts';
import { RemoteSettings } from './remote-settings.ts';
import type { ConnectionSettings } from './settings.ts';
import type { Stream, StreamHandler } from './stream.ts';
import { Streams } from './streams.ts';
import { processTicker, type Ticker } from './ticker.ts';
import { Watchdog, type Watched } from './watchdog.ts';

/** Why a connection closed. */
export interface ConnectionClose {
  /** An error code of RFC 9113 §7; NO_ERROR when it was drained, idle, or the socket just ended. */
  readonly code: number;
  /** local: our `shutdown`, `destroy` or an error found here; peer: its GOAWAY or end of input; socket: the transport failed. */
  readonly origin: 'local' | 'peer' | 'socket';
  /** Never sent to the peer when `cause` is set. */
  readonly detail: string;
  /** What a handler threw, or the socket's error. */
  readonly cause?: unknown;
}

/** What a connection tells its owner. No method may throw. */
export interface ConnectionHandler {
  /** Server role: a request begins. Called before the returned handler's `onHeaders`. Without it all are refused. */
  onStream?(stream: Stream): StreamHandler;
  /** Client role: the peer is draining and takes no new streams; those it will not answer are reset after this. */
  onGoaway?(connection: Connection, code: number, debug: string): void;
  /** Exactly once, after every stream was reset. */
  onClose(connection: Connection, reason: ConnectionClose): void;
  /** Client role: a slot became free after `openStream` returned null for want of one. */
  onWritable?(connection: Connection): void;
  /** The peer did something illegal or too often; for metrics. */
  onViolation?(connection: Connection, kind: ViolationKind): void;
}

/** Resets that cost more than others: a header list takes as long to decode as many requests, a full queue is memory. */
const WEIGHTS: Partial<Record<ViolationKind, number>> = { 'header-list-too-large': 20, 'slow-reader': 10 };
const DRAIN_PING: Buffer = Buffer.from('gh-drain', 'latin1');
const KEEPALIVE_PING: Buffer = Buffer.from('gh-alive', 'latin1');

export class Connection implements OutputOwner, Watched {
  /** Whatever the owner attaches. */
  context: unknown = undefined;
  readonly socket: Duplex;
  readonly settings: ConnectionSettings;
  readonly isServer: boolean;
  /** Client: opens no more streams. Server: GOAWAY has been sent. */
  draining = false;
  closed = false;

  /** @internal */
  readonly handler: ConnectionHandler;
  /** @internal */
  readonly streams: Streams;
  /** @internal */
  readonly outbound: Outbound;
  /** @internal */
  readonly decoder: HpackDecoder;
  /** @internal */
  readonly remote = new RemoteSettings();
  /** @internal */
  readonly receiveWindow: ReceiveWindow;
  /** @internal */
  readonly guard: AbuseGuard;
  /** @internal */
  settingsAcknowledged = false;
  /** @internal Counts header blocks and DATA in either direction: what PING frames may go along with. */
  progress = 0;
  private readonly reader: FrameReader;
  private readonly watchdog: Watchdog;
  private readonly ticker: Ticker;
  private slotWanted = false;
  private peerGoaway: { readonly code: number; readonly debug: string } | null = null;
  private socketError: Error | null = null;

  /** A server's end. A TLS socket must have finished its handshake and negotiated `h2`. */
  static server(socket: Duplex, handler: ConnectionHandler, settings: ConnectionSettings): Connection {
    return new Connection(socket, handler, settings, true);
  }

  /**
   * A client's end. Streams may be opened at once; a `net.Socket` may still be connecting, a TLS socket must have
   * finished its handshake.
   */
  static client(socket: Duplex, handler: ConnectionHandler, settings: ConnectionSettings): Connection {
    return new Connection(socket, handler, settings, false);
  }

  private constructor(
    socket: Duplex,
    handler: ConnectionHandler,
    settings: ConnectionSettings,
    isServer: boolean,
  ) {
    this.socket = socket;
    this.handler = handler;
    this.settings = settings;
    this.isServer = isServer;
    this.ticker = settings.ticker ?? processTicker;
    this.guard = new AbuseGuard(settings, this.ticker);
    this.streams = new Streams(this);
    this.outbound = new Outbound(this);
    this.decoder = new HpackDecoder(settings.headerTableBytes, settings);
    this.receiveWindow = new ReceiveWindow(
      Math.max(WINDOW_BYTES_INITIAL, settings.connectionWindowBytes),
      settings.connectionWindowBytes,
    );
    this.reader = new FrameReader(new Inbound(this), isServer, settings);
    this.watchdog = new Watchdog(this, this.outbound.output, this.reader.block, this.ticker.nowMs());
    this.attach();
    this.announce();
    this.ticker.add(this.watchdog);
  }

  /** Streams open, in both directions counted. */
  get activeStreams(): number {
    return this.streams.size;
  }

  /** Client role: streams that `openStream` would give now. */
  get availableStreams(): number {
    if (this.isServer || this.draining || this.closed || this.streams.idsExhausted) return 0;
    return Math.max(0, this.remote.maxConcurrentStreams - this.streams.size);
  }

  /** Bytes of output that the socket has not taken yet, queued stream data not counted. */
  get bytesQueued(): number {
    return this.outbound.output.bufferedBytes;
  }

  /** @internal */
  get settingsReceived(): boolean {
    return this.remote.received;
  }

  /**
   * Client role: opens a stream, or returns null when draining, closed, out of ids or at the peer's
   * MAX_CONCURRENT_STREAMS (then `onWritable` follows). Its `sendHeaders` must come before that of any newer stream.
   */
  openStream(handler: StreamHandler): Stream | null {
    if (this.availableStreams === 0) {
      this.slotWanted = true;
      return null;
    }
    return this.streams.openOwn(handler);
  }

  /**
   * Ends gracefully. Server: GOAWAY for all ids, then, a PING's round trip or shutdownPingTimeoutMs later, GOAWAY
   * with the last id; closes when the streams have ended. Client: opens no more streams and closes when they have.
   */
  shutdown(): void {
    if (this.closed || (this.draining && this.isServer)) return;
    this.draining = true;
    if (this.isServer) {
      this.outbound.goaway(STREAM_ID_LARGEST, ErrorCode.NO_ERROR, '');
      this.outbound.ping(DRAIN_PING, 0, false);
    } else {
      this.closeIfDrained();
    }
  }

  /** Resets every stream, sends GOAWAY with this code and closes. `detail` goes to the peer too. */
  destroy(code: number, detail: string): void {
    this.finish({ code, origin: 'local', detail }, detail);
  }

  /**
   * Takes input `chunk[0, length)`; for sockets opened with `onread`, which emit no data. The chunk is free after, and
   * what was in it has been moved about.
   */
  receive(chunk: Buffer, length: number): void {
    if (this.closed) return;
    this.watchdog.sawInput = true;
    try {
      this.reader.read(chunk, length);
    } catch (cause) {
      this.finish({ code: ErrorCode.INTERNAL_ERROR, origin: 'local', detail: 'a handler threw', cause }, '');
    }
    if (this.outbound.output.bufferedBytes > this.settings.outputBufferedBytesMax) {
      this.fail('slow-reader', ErrorCode.ENHANCE_YOUR_CALM, 'too much output unread');
    }
  }

  private attach(): void {
    const { socket } = this;
    if (socket instanceof Socket) {
      socket.setNoDelay(true);
      if (socket.connecting) {
        this.outbound.output.hold();
        socket.once('connect', () => this.outbound.output.release());
      }
    }
    socket.on('data', (chunk: Buffer) => this.receive(chunk, chunk.length));
    socket.on('error', (error: Error) => {
      this.socketError = error;
    });
    socket.on('end', () => this.onSocketGone());
    socket.on('close', () => {
      this.onSocketGone();
      this.ticker.remove(this.watchdog);
    });
  }

  private announce(): void {
    const { settings, outbound } = this;
    const values: [number, number][] = [
      [SettingId.INITIAL_WINDOW_SIZE, settings.initialStreamWindowBytes],
      [SettingId.MAX_HEADER_LIST_SIZE, settings.headerListBytesMax],
    ];
    if (this.isServer) values.push([SettingId.MAX_CONCURRENT_STREAMS, settings.maxConcurrentStreams]);
    else values.push([SettingId.ENABLE_PUSH, 0]);
    if (settings.headerTableBytes !== HEADER_TABLE_BYTES_INITIAL) {
      values.push([SettingId.HEADER_TABLE_SIZE, settings.headerTableBytes]);
    }
    if (!this.isServer) {
      outbound.output.room(PREFACE.length);
      outbound.output.copy(PREFACE, 0, PREFACE.length);
    }
    outbound.settings(values);
    const growth = settings.connectionWindowBytes - WINDOW_BYTES_INITIAL;
    if (growth > 0) outbound.windowUpdate(0, growth);
    else this.receiveWindow.withhold(-growth);
  }

  /** @internal */
  onOutputWritten(): void {
    try {
      this.outbound.pump();
    } catch (cause) {
      this.finish({ code: ErrorCode.INTERNAL_ERROR, origin: 'local', detail: 'a handler threw', cause }, '');
    }
  }

  /** @internal Credits received bytes on the connection's window. */
  credit(bytes: number): void {
    if (this.closed) return;
    const increment = this.receiveWindow.give(bytes);
    if (increment > 0) this.outbound.windowUpdate(0, increment);
  }

  /** @internal A stream has ended. */
  afterStream(): void {
    if (this.closed) return;
    this.closeIfDrained();
    this.offerSlots();
  }

  private closeIfDrained(): void {
    if (this.closed || !this.draining || !this.streams.isDrained) return;
    const goaway = this.peerGoaway;
    if (goaway === null) this.finish({ code: ErrorCode.NO_ERROR, origin: 'local', detail: 'drained' }, '');
    else this.finish({ code: goaway.code, origin: 'peer', detail: goaway.debug }, '');
  }

  /** @internal Tells the owner of a free slot when it has asked for one in vain. */
  offerSlots(): void {
    if (!this.slotWanted || this.availableStreams === 0) return;
    this.slotWanted = false;
    this.handler.onWritable?.(this);
  }

  /** @internal Counts a reset that the peer made us send. */
  provoked(kind: ViolationKind): void {
    this.handler.onViolation?.(this, kind);
    if (this.guard.allows('provoked-reset-flood', WEIGHTS[kind])) return;
    this.fail('provoked-reset-flood', ErrorCode.ENHANCE_YOUR_CALM, 'provoked-reset-flood');
  }

  /** @internal A connection error (RFC 9113 §5.4.1) that the peer made. */
  fail(kind: ViolationKind, code: number, detail: string): void {
    if (this.closed) return;
    this.handler.onViolation?.(this, kind);
    this.finish({ code, origin: 'local', detail }, detail);
  }

  /** @internal */
  onSettingsAck(): void {
    if (this.settingsAcknowledged) return;
    this.settingsAcknowledged = true;
    this.decoder.tableSizeAcknowledged(this.settings.headerTableBytes);
    this.streams.settingsAcknowledged();
  }

  /** @internal */
  onPingAck(payload: Buffer, start: number): void {
    if (DRAIN_PING.equals(payload.subarray(start, start + DRAIN_PING.length))) this.endDrainWait();
  }

  /** @internal */
  onGoaway(lastStreamId: number, code: number, debug: string): void {
    this.peerGoaway = { code, debug };
    if (this.isServer) return;
    this.draining = true;
    this.handler.onGoaway?.(this, code, debug);
    this.streams.abandonAbove(lastStreamId);
    this.closeIfDrained();
  }

  /** @internal */
  sendKeepalive(): void {
    this.outbound.ping(KEEPALIVE_PING, 0, false);
  }

  /** @internal Fixes the last stream id of a draining server. */
  endDrainWait(): void {
    if (!this.isServer || !this.draining || this.closed || !this.streams.stopAccepting()) return;
    this.outbound.goaway(this.streams.newestPeerId, ErrorCode.NO_ERROR, '');
    this.closeIfDrained();
  }

  /** @internal */
  resetStalled(nowMs: number): void {
    this.streams.resetStalled(nowMs);
  }

  /** @internal */
  sendPostponed(nowMs: number): void {
    this.streams.sendPostponed(nowMs);
  }

  /** @internal */
  nowMs(): number {
    return this.ticker.nowMs();
  }

  /** @internal */
  destroySocket(): void {
    this.socket.destroy();
  }

  private onSocketGone(): void {
    if (this.closed) return;
    const error = this.socketError;
    const goaway = this.peerGoaway;
    if (goaway !== null) this.finish({ code: goaway.code, origin: 'peer', detail: goaway.debug }, null);
    else if (error === null) {
      this.finish({ code: ErrorCode.NO_ERROR, origin: 'peer', detail: 'the peer closed the socket' }, null);
    } else {
      const code = ErrorCode.INTERNAL_ERROR;
      this.finish({ code, origin: 'socket', detail: error.message, cause: error }, null);
    }
  }

  /** @param goawayText what GOAWAY says; null sends none */
  private finish(reason: ConnectionClose, goawayText: string | null): void {
    if (this.closed) return;
    this.closed = true;
    this.draining = true;
    this.reader.stop();
    const { output } = this.outbound;
    const writtenTo = goawayText === null || output.held ? output.handedBytes : output.position;
    if (goawayText !== null) {
      this.outbound.goaway(
        this.streams.newestPeerId,
        reason.origin === 'peer' ? ErrorCode.NO_ERROR : reason.code,
        goawayText,
      );
    }
    this.streams.abandonAll({ code: reason.code, detail: reason.detail, writtenTo });
    if (goawayText === null) output.close();
    else output.end();
    // What a flood still sends is not even decrypted; the watchdog closes the socket when the peer does not.
    if (reason.origin === 'local' && reason.code !== ErrorCode.NO_ERROR) this.socket.pause();
    this.handler.onClose(this, reason);
  }
}
