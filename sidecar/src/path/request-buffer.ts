import type { ByteBudget } from './byte-budget.ts';

/** Small pieces are put together up to this size: a Buffer for every byte would take a hundred. */
const BLOCK_BYTES_MAX = 16_384;
/** What the requests of most calls fit into. */
const SMALL_BLOCK_BYTES = 1024;
/** Small blocks of the process, used again and again; with all of them taken, blocks are made as large as is needed. */
const SMALL_BLOCKS_MAX = 256;
const NOTHING: Buffer = Buffer.alloc(0);
const NO_CHUNKS: readonly Buffer[] = Object.freeze([]);

const smallBlocks: Buffer[] = [];
let smallBlocksMade = 0;

function takeSmallBlock(): Buffer | null {
  if (smallBlocks.length > 0 || smallBlocksMade === SMALL_BLOCKS_MAX) return smallBlocks.pop() ?? null;
  smallBlocksMade += 1;
  return Buffer.allocUnsafeSlow(SMALL_BLOCK_BYTES);
}

/**
 * The request's bytes from the first on: kept until the call has somewhere to go, and after that for as long as it may
 * have to go somewhere else. Within a limit per call and one for the process.
 */
export class RequestBuffer {
  readonly #budget: ByteBudget;
  #bytes = 0;
  /** Blocks that are full, cut to what is in them. */
  #full: Buffer[] | null = null;
  /** What comes next goes into this one. */
  #block: Buffer = NOTHING;
  #used = 0;
  /** The first block, where it is one of the small ones. */
  #small: Buffer | null = null;
  /** Somebody may still look into what is held: the small block is not used for another call. */
  #shown = false;

  constructor(budget: ByteBudget) {
    this.#budget = budget;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** What all calls of the process may hold together. */
  get limitBytes(): number {
    return this.#budget.limitBytes;
  }

  get chunks(): readonly Buffer[] {
    if (this.#bytes === 0) return NO_CHUNKS;
    return this.#full === null ? [this.#last()] : [...this.#full, this.#last()];
  }

  /** Keeps a copy. @returns false when the process has no room for it */
  add(chunk: Buffer, start: number, end: number): boolean {
    const count = end - start;
    if (!this.#budget.take(count)) return false;
    if (this.#used + count > this.#block.length) this.#begin(count);
    chunk.copy(this.#block, this.#used, start, end);
    this.#used += count;
    this.#bytes += count;
    return true;
  }

  /** All bytes in one piece. */
  join(): Buffer {
    if (this.#full === null) return this.#bytes === 0 ? NOTHING : this.#last();
    const joined = Buffer.concat(this.chunks, this.#bytes);
    this.#full = null;
    this.#block = joined;
    this.#used = joined.length;
    return joined;
  }

  clear(): void {
    if (this.#bytes === 0) return;
    this.#budget.give(this.#bytes);
    this.#bytes = 0;
    this.#full = null;
    this.#block = NOTHING;
    this.#used = 0;
    if (this.#small === null) return;
    if (this.#shown) smallBlocksMade -= 1;
    else smallBlocks.push(this.#small);
    this.#small = null;
    this.#shown = false;
  }

  #last(): Buffer {
    this.#shown = true;
    return this.#block.subarray(0, this.#used);
  }

  #begin(count: number): void {
    if (this.#used > 0) (this.#full ??= []).push(this.#last());
    this.#small ??= this.#bytes === 0 && count <= SMALL_BLOCK_BYTES ? takeSmallBlock() : null;
    // As much again as there is already, so that a request of one piece takes no more than it needs.
    this.#block =
      this.#bytes === 0 && this.#small !== null
        ? this.#small
        : Buffer.allocUnsafe(Math.max(count, Math.min(BLOCK_BYTES_MAX, this.#bytes)));
    this.#used = 0;
  }
}
