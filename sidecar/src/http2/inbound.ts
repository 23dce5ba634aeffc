/** The receiving half of a connection: what each frame means (RFC 9113 §5, §6, §8). */
import type { FloodKind, ViolationKind } from './abuse-guard.ts';
import { Closing } from './closed-streams.ts';
import type { Connection } from './connection.ts';
import { controlFault } from './control-fault.ts';
import { ErrorCode } from './error-code.ts';
import type { FrameSink } from './frame-reader.ts';
import { Flag, FrameType, readUint32, WINDOW_BYTES_LARGEST } from './frame-types.ts';
import { Decoded } from './hpack-decoder.ts';
import { checkRequest, checkResponse, checkTrailers, type MessageHead } from './message-rules.ts';
import { isUnprocessed, type Stream } from './stream.ts';

/** WINDOW_UPDATE frames for each DATA frame or header block in either direction: for stream and connection, twice over. */
const WINDOW_UPDATES_PER_FRAME = 4;
const WINDOW_UPDATES_FREE_MAX = 4096;

export class Inbound implements FrameSink {
  private readonly connection: Connection;
  private dataStream: Stream | null = null;
  private progressAtPing = -1;
  private progressAtUpdate = 0;
  /** WINDOW_UPDATE frames that come with what was sent and received. */
  private updatesFree = 0;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  onUnreadable(code: number, detail: string): void {
    const kind: ViolationKind =
      code === ErrorCode.FRAME_SIZE_ERROR
        ? 'frame-size'
        : code === ErrorCode.ENHANCE_YOUR_CALM
          ? 'continuation-flood'
          : 'protocol';
    this.connection.fail(kind, code, detail);
  }

  onDataBegin(streamId: number, payloadBytes: number, frames: number): void {
    const { connection } = this;
    this.dataStream = null;
    if (payloadBytes > 0) connection.progress += frames;
    if (!connection.receiveWindow.take(payloadBytes)) {
      connection.fail('flow-control', ErrorCode.FLOW_CONTROL_ERROR, 'connection window overrun');
      return;
    }
    const stream = connection.streams.get(streamId);
    if (stream === undefined) this.onClosedStream(streamId, true);
    else if (stream.remoteEnded) {
      connection.streams.fail(stream, 'stream-closed', ErrorCode.STREAM_CLOSED, 'DATA after END_STREAM');
    } else if (!stream.headReceived) {
      connection.streams.fail(stream, 'malformed-message', ErrorCode.PROTOCOL_ERROR, 'DATA before the head');
    } else if (!stream.receiveWindow.take(payloadBytes)) {
      connection.streams.fail(stream, 'flow-control', ErrorCode.FLOW_CONTROL_ERROR, 'stream window overrun');
    } else this.dataStream = stream;
  }

  onDataPiece(
    chunk: Buffer,
    start: number,
    end: number,
    paddingBytes: number,
    last: boolean,
    endStream: boolean,
  ): void {
    const { connection } = this;
    const stream = this.dataStream;
    const count = end - start;
    if (stream === null || stream.closed) {
      connection.credit(count + paddingBytes);
      return;
    }
    if (paddingBytes > 0) {
      connection.credit(paddingBytes);
      if (!endStream) stream.creditStream(paddingBytes);
    }
    if (count === 0 && !endStream) {
      if (last && paddingBytes === 0) this.flood('empty-data-flood');
      return;
    }
    if (stream.contentLeft >= 0) {
      stream.contentLeft -= count;
      if (stream.contentLeft < 0 || (endStream && stream.contentLeft > 0)) {
        connection.credit(count);
        connection.streams.fail(
          stream,
          'malformed-message',
          ErrorCode.PROTOCOL_ERROR,
          'body differs from content-length',
        );
        return;
      }
    }
    stream.received(count);
    if (endStream) stream.remoteEnded = true;
    stream.handler.onData(stream, chunk, start, end, endStream);
    if (endStream) connection.streams.releaseIfEnded(stream);
  }

  onHeaderBlock(
    streamId: number,
    endStream: boolean,
    selfDependent: boolean,
    block: Buffer,
    start: number,
    end: number,
  ): void {
    const { connection } = this;
    connection.progress++;
    const decoded = connection.decoder.decode(block, start, end);
    if (decoded === Decoded.INVALID) {
      connection.fail('compression', ErrorCode.COMPRESSION_ERROR, 'header block does not decode');
      return;
    }
    if (decoded === Decoded.FAR_OVER_LIMIT) {
      connection.fail('header-list-too-large', ErrorCode.ENHANCE_YOUR_CALM, 'header list far too large');
      return;
    }
    const tooLarge = decoded === Decoded.OVER_LIMIT;
    const stream = connection.streams.get(streamId);
    if (stream !== undefined) {
      if (selfDependent) this.selfDependency(streamId);
      else if (tooLarge) this.refuseList(streamId);
      else if (stream.remoteEnded) {
        connection.streams.fail(stream, 'stream-closed', ErrorCode.STREAM_CLOSED, 'HEADERS after END_STREAM');
      } else if (stream.headReceived) this.trailers(stream, endStream);
      else this.response(stream, endStream);
    } else if (connection.isServer && streamId % 2 === 1 && streamId > connection.streams.newestPeerId) {
      if (!connection.streams.takesPeerStream(streamId)) return;
      if (selfDependent) this.selfDependency(streamId);
      else if (tooLarge) this.refuseList(streamId);
      else this.request(streamId, endStream);
    } else {
      this.onClosedStream(streamId, false);
    }
  }

  private selfDependency(streamId: number): void {
    this.connection.streams.failId(
      streamId,
      'protocol',
      ErrorCode.PROTOCOL_ERROR,
      'stream depends on itself',
    );
  }

  private refuseList(streamId: number): void {
    this.connection.streams.failId(
      streamId,
      'header-list-too-large',
      ErrorCode.ENHANCE_YOUR_CALM,
      'header list too large',
    );
  }

  private request(streamId: number, endStream: boolean): void {
    const { connection } = this;
    const fields = connection.decoder.fields;
    const head = checkRequest(fields);
    if (this.isMalformed(streamId, head, endStream && head.contentLength > 0)) return;
    const contentLength = head.contentLength;
    const stream = connection.streams.accept(streamId);
    if (stream === null) return;
    stream.headReceived = true;
    stream.contentLeft = contentLength;
    stream.remoteEnded = endStream;
    stream.handler.onHeaders(stream, fields, endStream);
    if (endStream) connection.streams.releaseIfEnded(stream);
  }

  private response(stream: Stream, endStream: boolean): void {
    const { connection } = this;
    const fields = connection.decoder.fields;
    const head = checkResponse(fields);
    const informational = head.status >= 100 && head.status < 200;
    const bodiless = stream.isHead || head.status === 204 || head.status === 304;
    const contentLength = bodiless ? 0 : head.contentLength;
    if (this.isMalformed(stream.id, head, endStream && (informational || contentLength > 0))) return;
    if (informational) return;
    stream.headReceived = true;
    stream.contentLeft = contentLength;
    stream.remoteEnded = endStream;
    stream.handler.onHeaders(stream, fields, endStream);
    if (endStream) connection.streams.releaseIfEnded(stream);
  }

  private trailers(stream: Stream, endStream: boolean): void {
    const { connection } = this;
    const fields = connection.decoder.fields;
    if (this.isMalformed(stream.id, checkTrailers(fields), !endStream || stream.contentLeft > 0)) return;
    stream.remoteEnded = true;
    stream.handler.onHeaders(stream, fields, true);
    connection.streams.releaseIfEnded(stream);
  }

  private isMalformed(streamId: number, head: MessageHead, framingWrong: boolean): boolean {
    if (head.fault === '' && !framingWrong) return false;
    const detail =
      head.fault === '' ? 'END_STREAM where the message cannot end, or missing at its end' : head.fault;
    this.connection.streams.failId(streamId, 'malformed-message', ErrorCode.PROTOCOL_ERROR, detail);
    return true;
  }

  /** DATA or HEADERS on a stream that is not open (RFC 9113 §5.1, §5.1.1). */
  private onClosedStream(streamId: number, isData: boolean): void {
    const { connection } = this;
    if (connection.streams.isIdle(streamId)) {
      connection.fail('protocol', ErrorCode.PROTOCOL_ERROR, 'frame on an idle stream');
      return;
    }
    switch (connection.streams.closing(streamId)) {
      case Closing.RESET_HERE:
        return;
      case Closing.ENDED:
        connection.fail('stream-closed', ErrorCode.STREAM_CLOSED, 'frame on a closed stream');
        return;
      case Closing.NEVER_OPENED:
        if (isData) connection.fail('stream-closed', ErrorCode.STREAM_CLOSED, 'DATA on a skipped stream');
        else connection.fail('protocol', ErrorCode.PROTOCOL_ERROR, 'stream id goes back');
        return;
      default:
        this.flood('idle-frame-flood');
    }
  }

  onControl(
    type: number,
    flags: number,
    streamId: number,
    payload: Buffer,
    start: number,
    end: number,
  ): void {
    const fault = controlFault(type, flags, streamId, end - start);
    if (fault === ErrorCode.NO_ERROR) this.control(type, flags, streamId, payload, start, end);
    else if (type === FrameType.PRIORITY && streamId !== 0 && !this.connection.streams.isIdle(streamId)) {
      this.connection.streams.failId(streamId, 'frame-size', fault, 'PRIORITY of a wrong size');
    } else {
      const kind = fault === ErrorCode.FRAME_SIZE_ERROR ? 'frame-size' : 'protocol';
      this.connection.fail(kind, fault, `illegal frame of type ${type}`);
    }
  }

  private control(
    type: number,
    flags: number,
    streamId: number,
    payload: Buffer,
    start: number,
    end: number,
  ): void {
    const isAck = (flags & Flag.ACK) !== 0;
    switch (type) {
      case FrameType.WINDOW_UPDATE:
        return this.windowUpdate(streamId, readUint32(payload, start) & WINDOW_BYTES_LARGEST);
      case FrameType.RST_STREAM:
        return this.reset(streamId, readUint32(payload, start));
      case FrameType.SETTINGS:
        return isAck ? this.connection.onSettingsAck() : this.settings(payload, start, end);
      case FrameType.PING:
        return this.ping(isAck, payload, start);
      case FrameType.GOAWAY:
        return this.connection.onGoaway(
          readUint32(payload, start) & WINDOW_BYTES_LARGEST,
          readUint32(payload, start + 4),
          payload.toString('latin1', start + 8, Math.min(end, start + 8 + 128)),
        );
      case FrameType.PRIORITY:
        if ((readUint32(payload, start) & WINDOW_BYTES_LARGEST) === streamId) this.selfDependency(streamId);
        this.flood('idle-frame-flood');
        return;
      default:
        this.flood('idle-frame-flood');
    }
  }

  private windowUpdate(streamId: number, increment: number): void {
    const { connection } = this;
    const outbound = connection.outbound;
    if (!this.mayUpdate()) return;
    if (streamId === 0) {
      if (increment === 0)
        return connection.fail('flow-control', ErrorCode.PROTOCOL_ERROR, 'window increment of 0');
      outbound.sendWindow += increment;
      if (outbound.sendWindow > WINDOW_BYTES_LARGEST) {
        return connection.fail('flow-control', ErrorCode.FLOW_CONTROL_ERROR, 'connection window over 2^31-1');
      }
      return outbound.pump();
    }
    const stream = connection.streams.get(streamId);
    if (stream === undefined) {
      if (connection.streams.isIdle(streamId))
        connection.fail('protocol', ErrorCode.PROTOCOL_ERROR, 'frame on an idle stream');
      return;
    }
    if (increment === 0) {
      return connection.streams.fail(
        stream,
        'flow-control',
        ErrorCode.PROTOCOL_ERROR,
        'window increment of 0',
      );
    }
    stream.sendWindow += increment;
    if (stream.sendWindow > WINDOW_BYTES_LARGEST) {
      return connection.streams.fail(
        stream,
        'flow-control',
        ErrorCode.FLOW_CONTROL_ERROR,
        'stream window over 2^31-1',
      );
    }
    if (stream.queuedBytes > 0) {
      outbound.schedule(stream);
      outbound.pump();
    }
  }

  /** Window that nothing was sent or received for is as idle as PRIORITY. */
  private mayUpdate(): boolean {
    const { progress } = this.connection;
    const earned = WINDOW_UPDATES_PER_FRAME * (progress - this.progressAtUpdate);
    this.progressAtUpdate = progress;
    this.updatesFree = Math.min(WINDOW_UPDATES_FREE_MAX, this.updatesFree + earned);
    if (this.updatesFree === 0) return this.flood('idle-frame-flood');
    this.updatesFree--;
    return true;
  }

  private reset(streamId: number, code: number): void {
    const { connection } = this;
    if (connection.streams.isIdle(streamId)) {
      return connection.fail('protocol', ErrorCode.PROTOCOL_ERROR, 'RST_STREAM on an idle stream');
    }
    if (connection.isServer && !this.flood('reset-flood')) return;
    const stream = connection.streams.get(streamId);
    if (stream === undefined) return;
    connection.streams.close(stream, Closing.ENDED, {
      code,
      origin: 'peer',
      processed: isUnprocessed(code) ? 'no' : 'maybe',
      detail: 'RST_STREAM from the peer',
    });
  }

  private settings(payload: Buffer, start: number, end: number): void {
    const { connection } = this;
    if (!this.flood('settings-flood')) return;
    const { remote, outbound } = connection;
    const windowBefore = remote.initialWindowBytes;
    const code = remote.apply(payload, start, end, !connection.isServer);
    if (code !== ErrorCode.NO_ERROR) return connection.fail('protocol', code, 'illegal SETTINGS value');
    outbound.frameBytesMax = remote.frameBytesMax;
    outbound.encoder.peerTableBytes(remote.headerTableBytes);
    const shift = remote.initialWindowBytes - windowBefore;
    if (shift !== 0 && !connection.streams.shiftSendWindows(shift)) {
      return connection.fail('flow-control', ErrorCode.FLOW_CONTROL_ERROR, 'stream window over 2^31-1');
    }
    outbound.settingsAck();
    outbound.pump();
    connection.offerSlots();
  }

  private ping(isAck: boolean, payload: Buffer, start: number): void {
    const { connection } = this;
    if (isAck) return connection.onPingAck(payload, start);
    // gRPC peers measure the bandwidth with a PING for about every round trip that carries data: those are free.
    if (connection.progress === this.progressAtPing && !this.flood('ping-flood')) return;
    this.progressAtPing = connection.progress;
    connection.outbound.ping(payload, start, true);
  }

  /** Counts one of a class that is only bad in masses; false when that ended the connection. */
  private flood(kind: FloodKind): boolean {
    if (this.connection.guard.allows(kind)) return true;
    this.connection.fail(kind, ErrorCode.ENHANCE_YOUR_CALM, kind);
    return false;
  }
}
