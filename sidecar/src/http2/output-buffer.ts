/**
 * What a connection writes: frames are laid one after another into one pooled buffer, all connections that wrote
 * something are flushed together once per turn of the loop, and each has at most one write in flight.
 */
import type { Duplex } from 'node:stream';
import { FRAME_HEAD_BYTES } from './frame-types.ts';

/** What most turns of a connection need, and what the others grow to. */
const SMALL_BLOCK_BYTES = 2048;
const BLOCK_BYTES = 65_536;
/** A block this full is set aside and the next begun: the largest DATA frame fits behind any that is less full. */
const FULL_BYTES = 49_000;
/** Free blocks of each size kept for the process: two megabytes of either. */
const SMALL_BLOCKS_MAX = 1024;
const BLOCKS_MAX = 32;
/** Payloads up to this size are copied by a loop, which beats the call into native code: that takes 40 ns. */
const LOOP_COPY_MAX = 20;
const NOTHING: Buffer = Buffer.alloc(0);

const smallPool: Buffer[] = [];
const pool: Buffer[] = [];

function takeBlock(bytes: number): Buffer {
  if (bytes <= SMALL_BLOCK_BYTES) return smallPool.pop() ?? Buffer.allocUnsafeSlow(SMALL_BLOCK_BYTES);
  if (bytes <= BLOCK_BYTES) return pool.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
  return Buffer.allocUnsafeSlow(bytes);
}

function giveBlock(block: Buffer): void {
  if (block.length === SMALL_BLOCK_BYTES && smallPool.length < SMALL_BLOCKS_MAX) smallPool.push(block);
  else if (block.length === BLOCK_BYTES && pool.length < BLOCKS_MAX) pool.push(block);
}

let dirty: OutputBuffer[] = [];
let spare: OutputBuffer[] = [];

function flushDirty(): void {
  const flushed = dirty;
  dirty = spare;
  spare = flushed;
  for (let i = 0; i < flushed.length; i++) (flushed[i] as OutputBuffer).flushMarked();
  flushed.length = 0;
}

export interface OutputOwner {
  /** A write has left; there may be room for more DATA. */
  onOutputWritten(): void;
}

export class OutputBuffer {
  /** Bytes not yet given to the socket: `bytes[0, length)`. Call `room` before writing into it. */
  bytes: Buffer = NOTHING;
  length = 0;
  /** Bytes given to the socket so far. */
  handedBytes = 0;
  /** Bytes of the write in flight, 0 when there is none. */
  inFlightBytes = 0;
  /** Writes finished so far: a reader that stands still shows in this number standing still. */
  writesDone = 0;
  /** Nothing is handed to the socket: it is not connected yet. */
  held = false;
  private readonly socket: Duplex;
  private readonly owner: OutputOwner;
  /** Full blocks, which are written first, and how many bytes of each are used. */
  private full: { readonly block: Buffer; readonly used: number }[] = [];
  private fullBytes = 0;
  private inFlight: Buffer = NOTHING;
  /** Bytes of the last write: about as many will be in the next. */
  private handedLast = 0;
  private marked = false;
  private closed = false;

  constructor(socket: Duplex, owner: OutputOwner) {
    this.socket = socket;
    this.owner = owner;
  }

  /** Bytes waiting here or in flight. */
  get bufferedBytes(): number {
    return this.length + this.fullBytes + this.inFlightBytes;
  }

  /** Position in the connection's whole output at which the next byte will stand. */
  get position(): number {
    return this.handedBytes + this.fullBytes + this.length;
  }

  /** Makes sure that `count` more bytes fit. */
  room(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    const full = this.bytes.length;
    const grown = takeBlock(full === 0 ? Math.max(needed, this.handedLast) : Math.max(needed, full * 2));
    this.bytes.copy(grown, 0, 0, this.length);
    giveBlock(this.bytes);
    this.bytes = grown;
  }

  /** Writes a frame head (RFC 9113 §4.1); there is room already. */
  frameHead(payloadBytes: number, type: number, flags: number, streamId: number): void {
    this.frameHeadAt(this.length, payloadBytes, type, flags, streamId);
    this.length += FRAME_HEAD_BYTES;
  }

  frameHeadAt(at: number, payloadBytes: number, type: number, flags: number, streamId: number): void {
    const bytes = this.bytes;
    bytes[at] = payloadBytes >>> 16;
    bytes[at + 1] = payloadBytes >>> 8;
    bytes[at + 2] = payloadBytes;
    bytes[at + 3] = type;
    bytes[at + 4] = flags;
    bytes[at + 5] = streamId >>> 24;
    bytes[at + 6] = streamId >>> 16;
    bytes[at + 7] = streamId >>> 8;
    bytes[at + 8] = streamId;
  }

  uint32(value: number): void {
    const bytes = this.bytes;
    const at = this.length;
    bytes[at] = value >>> 24;
    bytes[at + 1] = value >>> 16;
    bytes[at + 2] = value >>> 8;
    bytes[at + 3] = value;
    this.length = at + 4;
  }

  copy(source: Buffer, start: number, end: number): void {
    const count = end - start;
    const at = this.length;
    if (count <= LOOP_COPY_MAX) {
      const bytes = this.bytes;
      for (let i = 0; i < count; i++) bytes[at + i] = source[start + i] as number;
    } else {
      source.copy(this.bytes, at, start, end);
    }
    this.length = at + count;
  }

  /** A frame is complete: has what was written flushed at the end of this turn of the loop. */
  mark(): void {
    if (this.length >= FULL_BYTES) this.setAside();
    if (this.marked) return;
    this.marked = true;
    if (dirty.length === 0) setImmediate(flushDirty);
    dirty.push(this);
  }

  /** @internal */
  flushMarked(): void {
    this.marked = false;
    this.flush();
  }

  /** Holds every write back until `release`: the socket is not connected yet. */
  hold(): void {
    this.held = true;
  }

  release(): void {
    this.held = false;
    this.mark();
  }

  /** Writes the rest and ends the socket's writing side; nothing is taken after. */
  end(): void {
    if (this.closed) return;
    if (!this.held) while (this.fullBytes + this.length > 0) this.hand();
    this.close();
    this.socket.end();
  }

  /** Drops what waits here; nothing is written after. */
  close(): void {
    this.closed = true;
    giveBlock(this.bytes);
    this.bytes = NOTHING;
    this.length = 0;
    this.full = [];
    this.fullBytes = 0;
  }

  private flush(): void {
    if (this.inFlightBytes > 0 || this.held || this.closed || this.fullBytes + this.length === 0) return;
    this.inFlight = this.full[0]?.block ?? this.bytes;
    this.hand();
  }

  /** Writes the first block. */
  private hand(): void {
    const full = this.full.shift();
    const block = full?.block ?? this.bytes;
    const used = full?.used ?? this.length;
    if (full === undefined) {
      this.bytes = NOTHING;
      this.length = 0;
      this.handedLast = Math.min(used, BLOCK_BYTES);
    } else {
      this.fullBytes -= used;
    }
    this.handedBytes += used;
    this.inFlightBytes += used;
    this.socket.write(used === block.length ? block : block.subarray(0, used), this.onWritten);
  }

  private setAside(): void {
    this.full.push({ block: this.bytes, used: this.length });
    this.fullBytes += this.length;
    this.bytes = NOTHING;
    this.length = 0;
    this.handedLast = BLOCK_BYTES;
  }

  // One function for the connection's life, because one is needed for every write.
  private readonly onWritten = (): void => {
    giveBlock(this.inFlight);
    this.inFlight = NOTHING;
    this.inFlightBytes = 0;
    this.writesDone++;
    if (this.closed) return;
    this.flush();
    this.owner.onOutputWritten();
  };
}
