/** Cuts a connection's input into frames (RFC 9113 §4), wherever its chunks are cut. */
import { ErrorCode } from './error-code.ts';
import {
  Flag,
  FRAME_HEAD_BYTES,
  FRAME_PAYLOAD_BYTES,
  FrameType,
  PREFACE,
  readUint32,
} from './frame-types.ts';
import { HeaderBlock, type HeaderBlockLimits } from './header-block.ts';

export interface FrameSink {
  /** A DATA frame begins, or `frames` of them that were made one; `payloadBytes` counts padding too. */
  onDataBegin(streamId: number, payloadBytes: number, frames: number): void;
  /** A piece of its data, `paddingBytes` of padding with it; `last` when the frame is over. Chunks are valid during the call. */
  onDataPiece(
    chunk: Buffer,
    start: number,
    end: number,
    paddingBytes: number,
    last: boolean,
    endStream: boolean,
  ): void;
  /** A whole header block, padding and priority removed. `selfDependent` is an illegal priority (RFC 7540 §5.3.1). */
  onHeaderBlock(
    streamId: number,
    endStream: boolean,
    selfDependent: boolean,
    block: Buffer,
    start: number,
    end: number,
  ): void;
  /** Any other whole frame. */
  onControl(type: number, flags: number, streamId: number, payload: Buffer, start: number, end: number): void;
  /** The input cannot be read on: a connection error. */
  onUnreadable(code: number, detail: string): void;
}

const State = { HEAD: 0, DATA: 1, PAYLOAD: 2 } as const;
const PRIORITY_BYTES = 5;
/** DATA frames up to this size are made one with those before them: moving their bytes costs less than another frame. */
const MERGED_BYTES_MAX = 1024;
const NOTHING: Buffer = Buffer.alloc(0);

export class FrameReader {
  /** The header block that is being put together, for its time-out. */
  readonly block: HeaderBlock;
  private readonly sink: FrameSink;
  private state: number = State.HEAD;
  private stopped = false;
  private prefaceLeft: number;
  private settingsDue = true;
  private readonly head = Buffer.allocUnsafeSlow(FRAME_HEAD_BYTES);
  private headBytes = 0;
  private payloadBytes = 0;
  private type = 0;
  private flags = 0;
  private streamId = 0;
  private held = NOTHING;
  private heldBytes = 0;
  private dataLeft = 0;
  private paddingLeft = 0;
  private padLengthDue = false;
  /** What `mergeFollowing` found: frames, where the next one begins, whether the last ended its stream. */
  private runFrames = 0;
  private runNext = 0;
  private runEndsStream = false;

  constructor(sink: FrameSink, isServer: boolean, limits: HeaderBlockLimits) {
    this.sink = sink;
    this.prefaceLeft = isServer ? PREFACE.length : 0;
    this.block = new HeaderBlock(limits);
  }

  /** Nothing more is read, not even the rest of the chunk. */
  stop(): void {
    this.stopped = true;
  }

  /** Reads `chunk[0, length)`, and may move bytes in it that it has read. */
  read(chunk: Buffer, length: number): void {
    let at = this.prefaceLeft > 0 ? this.readPreface(chunk, length) : 0;
    while (at < length && !this.stopped) {
      if (this.state === State.HEAD) at = this.readHead(chunk, at, length);
      else if (this.state === State.DATA) at = this.readData(chunk, at, length);
      else at = this.readPayload(chunk, at, length);
    }
  }

  private readPreface(chunk: Buffer, length: number): number {
    const offset = PREFACE.length - this.prefaceLeft;
    const count = Math.min(this.prefaceLeft, length);
    if (chunk.compare(PREFACE, offset, offset + count, 0, count) !== 0) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'no HTTP/2 preface');
      return length;
    }
    this.prefaceLeft -= count;
    return count;
  }

  private readHead(chunk: Buffer, at: number, length: number): number {
    if (this.headBytes === 0 && length - at >= FRAME_HEAD_BYTES) {
      return this.begin(chunk, at, at + FRAME_HEAD_BYTES, length);
    }
    const count = Math.min(FRAME_HEAD_BYTES - this.headBytes, length - at);
    chunk.copy(this.head, this.headBytes, at, at + count);
    this.headBytes += count;
    if (this.headBytes < FRAME_HEAD_BYTES) return at + count;
    this.headBytes = 0;
    return this.begin(this.head, 0, at + count, length, chunk);
  }

  /** Takes the frame head at `head[headAt]` and as much of its payload as can be used at once. */
  private begin(head: Buffer, headAt: number, at: number, length: number, chunk: Buffer = head): number {
    const size =
      ((head[headAt] as number) << 16) | ((head[headAt + 1] as number) << 8) | (head[headAt + 2] as number);
    const type = head[headAt + 3] as number;
    const flags = head[headAt + 4] as number;
    const streamId = readUint32(head, headAt + 5) & 0x7fff_ffff;
    const illegal = this.illegalHead(size, type, flags, streamId);
    if (illegal !== '') {
      this.fail(size > FRAME_PAYLOAD_BYTES ? ErrorCode.FRAME_SIZE_ERROR : ErrorCode.PROTOCOL_ERROR, illegal);
      return length;
    }
    this.type = type;
    this.flags = flags;
    this.streamId = streamId;
    this.payloadBytes = size;
    if (type === FrameType.DATA) {
      if ((flags & Flag.PADDED) !== 0 || size === 0 || length - at < size)
        return this.beginData(chunk, at, length);
      // Nearly every DATA frame is whole and without padding.
      return this.wholeData(chunk, at, length);
    }
    if (type === FrameType.HEADERS) this.block.begin(streamId, (flags & Flag.END_STREAM) !== 0);
    if (length - at >= size) {
      this.dispatch(chunk, at, at + size);
      return at + size;
    }
    this.held = Buffer.allocUnsafe(size);
    this.heldBytes = 0;
    this.state = State.PAYLOAD;
    return at;
  }

  private illegalHead(size: number, type: number, flags: number, streamId: number): string {
    if (size > FRAME_PAYLOAD_BYTES) return 'frame larger than SETTINGS_MAX_FRAME_SIZE';
    if (this.settingsDue) {
      if (type !== FrameType.SETTINGS || (flags & Flag.ACK) !== 0) return 'first frame is not SETTINGS';
      this.settingsDue = false;
    }
    const open = this.block.streamId;
    if (type === FrameType.CONTINUATION ? open !== streamId || open === 0 : open !== 0) {
      return 'header block interrupted, or CONTINUATION without HEADERS';
    }
    if ((type === FrameType.DATA || type === FrameType.HEADERS) && streamId === 0)
      return 'frame needs a stream';
    return '';
  }

  private wholeData(chunk: Buffer, at: number, length: number): number {
    let end = at + this.payloadBytes;
    this.runFrames = 1;
    this.runNext = end;
    this.runEndsStream = (this.flags & Flag.END_STREAM) !== 0;
    if (!this.runEndsStream && length - end > FRAME_HEAD_BYTES) end = this.mergeFollowing(chunk, at, length);
    this.sink.onDataBegin(this.streamId, end - at, this.runFrames);
    if (!this.stopped) this.sink.onDataPiece(chunk, at, end, 0, true, this.runEndsStream);
    return this.runNext;
  }

  /**
   * Moves the payloads of small whole DATA frames that follow on the same stream up to the one that begins at `at`, so
   * that a burst of messages is handled as one piece: it costs a third of handling each (200 messages of 30 bytes).
   * @returns where the joint payload ends
   */
  private mergeFollowing(chunk: Buffer, at: number, length: number): number {
    const { streamId } = this;
    const last = at + FRAME_PAYLOAD_BYTES;
    let to = at + this.payloadBytes;
    let head = to;
    while (length - head > FRAME_HEAD_BYTES && chunk[head + 3] === FrameType.DATA) {
      const size = ((chunk[head + 1] as number) << 8) | (chunk[head + 2] as number);
      const flags = chunk[head + 4] as number;
      const from = head + FRAME_HEAD_BYTES;
      if (chunk[head] !== 0 || size === 0 || size > MERGED_BYTES_MAX || (flags & ~Flag.END_STREAM) !== 0)
        break;
      if (from + size > length || to + size > last) break;
      if ((readUint32(chunk, head + 5) & 0x7fff_ffff) !== streamId) break;
      chunk.copyWithin(to, from, from + size);
      to += size;
      head = from + size;
      this.runFrames++;
      if (flags !== 0) {
        this.runEndsStream = true;
        break;
      }
    }
    this.runNext = head;
    return to;
  }

  private beginData(chunk: Buffer, at: number, length: number): number {
    const padded = (this.flags & Flag.PADDED) !== 0;
    if (padded && this.payloadBytes === 0) {
      this.fail(ErrorCode.FRAME_SIZE_ERROR, 'padded frame without a pad length');
      return length;
    }
    this.dataLeft = this.payloadBytes;
    this.paddingLeft = 0;
    this.padLengthDue = padded;
    this.state = State.DATA;
    this.sink.onDataBegin(this.streamId, this.payloadBytes, 1);
    if (this.payloadBytes > 0 || this.stopped) return at;
    this.state = State.HEAD;
    this.sink.onDataPiece(chunk, at, at, 0, true, (this.flags & Flag.END_STREAM) !== 0);
    return at;
  }

  private readData(chunk: Buffer, from: number, length: number): number {
    let at = from;
    let padding = 0;
    if (this.padLengthDue) {
      const padLength = chunk[at++] as number;
      if (padLength >= this.payloadBytes) {
        this.fail(ErrorCode.PROTOCOL_ERROR, 'padding longer than the frame');
        return length;
      }
      this.padLengthDue = false;
      this.paddingLeft = padLength;
      this.dataLeft -= 1 + padLength;
      padding = 1;
    }
    const start = at;
    const end = Math.min(length, at + this.dataLeft);
    this.dataLeft -= end - start;
    at = end;
    if (this.dataLeft === 0 && this.paddingLeft > 0) {
      const skipped = Math.min(this.paddingLeft, length - at);
      this.paddingLeft -= skipped;
      padding += skipped;
      at += skipped;
    }
    const last = this.dataLeft === 0 && this.paddingLeft === 0;
    if (last) this.state = State.HEAD;
    this.sink.onDataPiece(chunk, start, end, padding, last, last && (this.flags & Flag.END_STREAM) !== 0);
    return at;
  }

  private readPayload(chunk: Buffer, at: number, length: number): number {
    const count = Math.min(this.payloadBytes - this.heldBytes, length - at);
    chunk.copy(this.held, this.heldBytes, at, at + count);
    this.heldBytes += count;
    if (this.heldBytes < this.payloadBytes) return at + count;
    const held = this.held;
    this.held = NOTHING;
    this.state = State.HEAD;
    this.dispatch(held, 0, this.payloadBytes);
    return at + count;
  }

  private dispatch(payload: Buffer, start: number, end: number): void {
    if (this.type === FrameType.HEADERS) this.headers(payload, start, end);
    else if (this.type === FrameType.CONTINUATION) this.continuation(payload, start, end);
    else this.sink.onControl(this.type, this.flags, this.streamId, payload, start, end);
  }

  private headers(payload: Buffer, from: number, to: number): void {
    let start = from;
    let end = to;
    if ((this.flags & Flag.PADDED) !== 0 && start < end) end -= payload[start++] as number;
    else if ((this.flags & Flag.PADDED) !== 0) start++;
    if ((this.flags & Flag.PRIORITY) !== 0 && end - start >= PRIORITY_BYTES) {
      this.block.selfDependent = (readUint32(payload, start) & 0x7fff_ffff) === this.streamId;
      start += PRIORITY_BYTES;
    } else if ((this.flags & Flag.PRIORITY) !== 0) {
      start = end + 1;
    }
    if (start > end) {
      const short =
        to - from < ((this.flags & Flag.PADDED) !== 0 ? 1 : 0) + ((this.flags & Flag.PRIORITY) !== 0 ? 5 : 0);
      this.fail(
        short ? ErrorCode.FRAME_SIZE_ERROR : ErrorCode.PROTOCOL_ERROR,
        'padding or priority longer than the frame',
      );
      return;
    }
    this.fragment(payload, start, end);
  }

  private continuation(payload: Buffer, start: number, end: number): void {
    if (!this.block.continues())
      return this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'too many CONTINUATION frames');
    this.fragment(payload, start, end);
  }

  private fragment(payload: Buffer, start: number, end: number): void {
    const block = this.block;
    const whole = (this.flags & Flag.END_HEADERS) !== 0;
    if (!block.fits(end - start)) return this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'header block too long');
    if (!whole) return block.append(payload, start, end);
    const { streamId, endStream, selfDependent } = block;
    if (block.length === 0) {
      block.done();
      this.sink.onHeaderBlock(streamId, endStream, selfDependent, payload, start, end);
      return;
    }
    block.append(payload, start, end);
    const bytes = block.bytes;
    const length = block.length;
    block.done();
    this.sink.onHeaderBlock(streamId, endStream, selfDependent, bytes, 0, length);
  }

  private fail(code: number, detail: string): void {
    this.stopped = true;
    this.sink.onUnreadable(code, detail);
  }
}
