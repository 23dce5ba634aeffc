/** Bytes of one stream that wait for the peer's window. Small pieces are merged, so that dribble costs no more than its bytes. */
const BLOCK_BYTES_SMALLEST = 2048;
const BLOCK_BYTES_LARGEST = 16_384;
/** Free blocks of the largest size kept for the process: two megabytes. */
const POOL_BLOCKS_MAX = 128;
/** What a reader must take for it to count: one that takes a byte now and then stands still. */
const STEP_BYTES = 1024;

class Block {
  readonly bytes: Buffer;
  start = 0;
  end = 0;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
  }
}

const pool: Block[] = [];

function takeBlock(size: number): Block {
  return (size === BLOCK_BYTES_LARGEST ? pool.pop() : undefined) ?? new Block(size);
}

function giveBlock(block: Block): void {
  if (block.bytes.length !== BLOCK_BYTES_LARGEST || pool.length >= POOL_BLOCKS_MAX) return;
  block.start = 0;
  block.end = 0;
  pool.push(block);
}

export class SendQueue {
  /** Bytes waiting. */
  size = 0;
  private blocks: Block[] = [];
  private taken = 0;
  private takenSeen = -1;
  private seenAtMs = 0;

  /** Milliseconds for which data has waited and next to none has left, as far as repeated calls can tell. */
  stalledMs(nowMs: number): number {
    if (this.size === 0 || this.takenSeen < 0 || this.taken - this.takenSeen >= STEP_BYTES) {
      this.takenSeen = this.size === 0 ? -1 : this.taken;
      this.seenAtMs = nowMs;
    }
    return nowMs - this.seenAtMs;
  }

  push(chunk: Buffer, start: number, end: number): void {
    let at = start;
    this.size += end - start;
    while (at < end) {
      const block = this.lastWithRoom(end - at);
      const count = Math.min(end - at, block.bytes.length - block.end);
      chunk.copy(block.bytes, block.end, at, at + count);
      block.end += count;
      at += count;
    }
  }

  /** Bytes that can be taken in one piece. */
  get frontBytes(): number {
    const front = this.blocks[0];
    return front === undefined ? 0 : front.end - front.start;
  }

  /** The block to take from: up to `frontBytes` bytes from `frontStart` on. */
  get front(): Buffer {
    return (this.blocks[0] as Block).bytes;
  }

  get frontStart(): number {
    return (this.blocks[0] as Block).start;
  }

  drop(count: number): void {
    const front = this.blocks[0] as Block;
    front.start += count;
    this.size -= count;
    this.taken += count;
    if (front.start < front.end) return;
    this.blocks.shift();
    giveBlock(front);
  }

  clear(): void {
    for (const block of this.blocks) giveBlock(block);
    this.blocks = [];
    this.size = 0;
  }

  private lastWithRoom(wanted: number): Block {
    const last = this.blocks[this.blocks.length - 1];
    if (last !== undefined && last.end < last.bytes.length) return last;
    const doubled = last === undefined ? BLOCK_BYTES_SMALLEST : last.bytes.length * 2;
    const block = takeBlock(Math.min(BLOCK_BYTES_LARGEST, Math.max(doubled, wanted)));
    this.blocks.push(block);
    return block;
  }
}
