/** The sending half of a connection: frames into the output buffer, within the peer's windows and frame size. */
import type { Connection } from './connection.ts';
import { type Field, FieldKind } from './field.ts';
import {
  Flag,
  FRAME_HEAD_BYTES,
  FRAME_PAYLOAD_BYTES,
  FrameType,
  WINDOW_BYTES_INITIAL,
} from './frame-types.ts';
import { HpackEncoder } from './hpack-encoder.ts';
import { OutputBuffer } from './output-buffer.ts';
import type { SendQueue } from './send-queue.ts';
import type { Stream } from './stream.ts';

const GOAWAY_TEXT_BYTES_MAX = 128;
/** Stale places that the list of ready streams may hold beyond twice the open streams. */
const READY_SLACK = 64;

export class Outbound {
  readonly output: OutputBuffer;
  readonly encoder: HpackEncoder;
  /** The peer's connection window. */
  sendWindow: number = WINDOW_BYTES_INITIAL;
  /** Largest payload of a frame we write. */
  frameBytesMax: number = FRAME_PAYLOAD_BYTES;
  private readonly connection: Connection;
  private readonly dataBytesMax: number;
  private ready: Stream[] = [];
  private readyFrom = 0;
  private newestHeadId = 0;
  /** The DATA frame written last: position of its end in the whole output, its stream, its payload. */
  private openFrameEnd = -1;
  private openFrameId = 0;
  private openFrameBytes = 0;

  constructor(connection: Connection) {
    this.connection = connection;
    this.output = new OutputBuffer(connection.socket, connection);
    this.encoder = new HpackEncoder(connection.settings.headerTableBytes);
    this.dataBytesMax = connection.settings.outputDataBytesMax;
  }

  sendHead(stream: Stream, fields: readonly Field[], endStream: boolean): void {
    if (!this.connection.isServer) {
      if (stream.id < this.newestHeadId)
        throw new Error(`stream ${stream.id} sends its head after a newer one`);
      this.newestHeadId = stream.id;
      stream.isHead = isHeadRequest(fields);
    }
    this.headerBlock(stream.id, fields, endStream);
    stream.headWrittenTo = this.output.position;
    if (endStream) this.connection.streams.endLocal(stream);
  }

  sendTrailers(stream: Stream, fields: readonly Field[]): void {
    this.headerBlock(stream.id, fields, true);
    this.connection.streams.endLocal(stream);
  }

  /** Writes what may be written now. @returns bytes written; END_STREAM has gone out when that is all of them */
  sendData(stream: Stream, chunk: Buffer, start: number, end: number, endStream: boolean): number {
    let at = start;
    let allowed = this.allowance(stream);
    if (end > start && end - start <= allowed) {
      this.dataFrame(stream, chunk, start, end, endStream);
      at = end;
    } else if (end === start) {
      if (endStream) this.dataFrame(stream, chunk, at, at, true);
    } else {
      while (at < end && allowed > 0) {
        const count = Math.min(end - at, allowed);
        this.dataFrame(stream, chunk, at, at + count, endStream && at + count === end);
        at += count;
        allowed = this.allowance(stream);
      }
    }
    if (endStream && at === end) this.connection.streams.endLocal(stream);
    return at - start;
  }

  /** Lets a stream with queued data send when there is room; data that waits for the stream's window alone is not kept here. */
  schedule(stream: Stream): void {
    if (stream.isReady || stream.sendWindow <= 0) return;
    stream.isReady = true;
    this.ready.push(stream);
    if (this.ready.length > 2 * this.connection.activeStreams + READY_SLACK) this.compact();
  }

  /** Sends queued data, a frame from each stream in turn, while the connection takes any. */
  pump(): void {
    while (this.readyFrom < this.ready.length && this.sendWindow > 0 && this.hasRoom()) {
      const stream = this.ready[this.readyFrom++] as Stream;
      stream.isReady = false;
      if (!stream.closed && stream.queue !== null && stream.queue.size > 0)
        this.sendQueued(stream, stream.queue);
    }
    if (this.readyFrom < this.ready.length) return;
    this.ready.length = 0;
    this.readyFrom = 0;
  }

  /** Places in the list of streams that may send. */
  get readyStreams(): number {
    return this.ready.length;
  }

  /** Drops the places of streams that have had their turn or are closed, so that resets behind a shut window cost nothing. */
  private compact(): void {
    this.ready = this.ready.slice(this.readyFrom).filter(isOpen);
    this.readyFrom = 0;
  }

  windowUpdate(streamId: number, increment: number): void {
    this.frame(4, FrameType.WINDOW_UPDATE, 0, streamId);
    this.output.uint32(increment);
  }

  reset(streamId: number, code: number): void {
    this.frame(4, FrameType.RST_STREAM, 0, streamId);
    this.output.uint32(code);
  }

  ping(payload: Buffer, start: number, ack: boolean): void {
    this.frame(8, FrameType.PING, ack ? Flag.ACK : 0, 0);
    this.output.copy(payload, start, start + 8);
  }

  /** @param values pairs of parameter and value */
  settings(values: readonly (readonly [id: number, value: number])[]): void {
    this.frame(values.length * 6, FrameType.SETTINGS, 0, 0);
    for (const [id, value] of values) {
      this.output.bytes[this.output.length++] = 0;
      this.output.bytes[this.output.length++] = id;
      this.output.uint32(value);
    }
  }

  settingsAck(): void {
    this.frame(0, FrameType.SETTINGS, Flag.ACK, 0);
  }

  goaway(lastStreamId: number, code: number, text: string): void {
    const debug = Buffer.from(text.slice(0, GOAWAY_TEXT_BYTES_MAX), 'latin1');
    this.frame(8 + debug.length, FrameType.GOAWAY, 0, 0);
    this.output.uint32(lastStreamId);
    this.output.uint32(code);
    this.output.copy(debug, 0, debug.length);
  }

  private hasRoom(): boolean {
    return this.output.bufferedBytes < this.dataBytesMax;
  }

  private allowance(stream: Stream): number {
    if (!this.hasRoom()) return 0;
    return Math.min(stream.sendWindow, this.sendWindow, FRAME_PAYLOAD_BYTES);
  }

  private sendQueued(stream: Stream, queue: SendQueue): void {
    const count = Math.min(queue.frontBytes, this.allowance(stream));
    if (count <= 0) return;
    const isLast = count === queue.size;
    const ends = isLast && stream.endQueued;
    this.dataFrame(stream, queue.front, queue.frontStart, queue.frontStart + count, ends);
    queue.drop(count);
    if (isLast && stream.trailers !== null) {
      const trailers = stream.trailers;
      this.headerBlock(stream.id, trailers, true);
      stream.localEnded = true;
    } else if (ends) {
      stream.localEnded = true;
    } else if (!isLast) {
      this.schedule(stream);
    }
    stream.handler.onSent(stream, count);
    if (stream.localEnded && !stream.closed) this.connection.streams.endLocal(stream);
  }

  private dataFrame(stream: Stream, chunk: Buffer, start: number, end: number, endStream: boolean): void {
    const count = end - start;
    const output = this.output;
    const flags = endStream ? Flag.END_STREAM : 0;
    const merged = this.openFrameBytes + count;
    const isLast = output.length > 0 && output.position === this.openFrameEnd;
    if (isLast && stream.id === this.openFrameId && merged <= FRAME_PAYLOAD_BYTES) {
      // The frame before is this stream's too and has not left: it takes the bytes in.
      output.room(count);
      output.frameHeadAt(
        output.length - this.openFrameBytes - FRAME_HEAD_BYTES,
        merged,
        FrameType.DATA,
        flags,
        stream.id,
      );
      this.openFrameBytes = merged;
    } else {
      output.room(FRAME_HEAD_BYTES + count);
      output.frameHead(count, FrameType.DATA, flags, stream.id);
      this.openFrameBytes = count;
    }
    output.copy(chunk, start, end);
    output.mark();
    this.openFrameEnd = output.position;
    this.openFrameId = stream.id;
    this.connection.progress++;
    stream.sendWindow -= count;
    this.sendWindow -= count;
  }

  private headerBlock(streamId: number, fields: readonly Field[], endStream: boolean): void {
    const { output, encoder } = this;
    output.room(FRAME_HEAD_BYTES);
    const head = output.length;
    output.length = head + FRAME_HEAD_BYTES;
    encoder.write(output, fields);
    const count = output.length - head - FRAME_HEAD_BYTES;
    const endFlag = endStream ? Flag.END_STREAM : 0;
    if (count <= this.frameBytesMax) {
      output.frameHeadAt(head, count, FrameType.HEADERS, Flag.END_HEADERS | endFlag, streamId);
    } else {
      this.splitBlock(head, count, endFlag, streamId);
    }
    output.mark();
  }

  /** Makes HEADERS and CONTINUATION frames of a block that is larger than a frame, in place and from its end on. */
  private splitBlock(head: number, count: number, endFlag: number, streamId: number): void {
    const output = this.output;
    const size = this.frameBytesMax;
    const parts = Math.ceil(count / size);
    output.room((parts - 1) * FRAME_HEAD_BYTES);
    const first = head + FRAME_HEAD_BYTES;
    for (let part = parts - 1; part > 0; part--) {
      const from = first + part * size;
      const to = Math.min(from + size, first + count);
      const moved = from + part * FRAME_HEAD_BYTES;
      output.bytes.copyWithin(moved, from, to);
      const flags = part === parts - 1 ? Flag.END_HEADERS : 0;
      output.frameHeadAt(moved - FRAME_HEAD_BYTES, to - from, FrameType.CONTINUATION, flags, streamId);
    }
    output.frameHeadAt(head, size, FrameType.HEADERS, endFlag, streamId);
    output.length += (parts - 1) * FRAME_HEAD_BYTES;
  }

  private frame(payloadBytes: number, type: number, flags: number, streamId: number): void {
    this.output.room(FRAME_HEAD_BYTES + payloadBytes);
    this.output.frameHead(payloadBytes, type, flags, streamId);
    this.output.mark();
  }
}

function isOpen(stream: Stream): boolean {
  return !stream.closed;
}

function isHeadRequest(fields: readonly Field[]): boolean {
  for (let i = 0; i < fields.length; i++) {
    const { kind, value } = fields[i] as Field;
    if (kind === FieldKind.METHOD) return value === 'HEAD';
  }
  return false;
}
