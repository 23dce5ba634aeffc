import type { ByteBudget } from './byte-budget.ts';

/** Small pieces are put together up to this size: a Buffer for every byte would take a hundred. */
const BLOCK_BYTES_MAX = 16_384;
const NOTHING: Buffer = Buffer.alloc(0);

/**
 * The request's bytes from the first on: kept until the call has somewhere to go, and after that for as long as it may
 * have to go somewhere else. Within a limit per call and one for the process.
 */
export class RequestBuffer {
  readonly #budget: ByteBudget;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  /** What the last chunk is the beginning of. */
  #block: Buffer = NOTHING;

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
    return this.#chunks;
  }

  /** Keeps a copy. @returns false when the process has no room for it */
  add(chunk: Buffer, start: number, end: number): boolean {
    const count = end - start;
    if (!this.#budget.take(count)) return false;
    const last = this.#chunks.length - 1;
    const used = last < 0 ? 0 : (this.#chunks[last] as Buffer).length;
    if (last >= 0 && used + count <= this.#block.length) {
      chunk.copy(this.#block, used, start, end);
      this.#chunks[last] = this.#block.subarray(0, used + count);
    } else {
      // As much again as there is already, so that a request of one piece takes no more than it needs.
      this.#block = Buffer.allocUnsafe(Math.max(count, Math.min(BLOCK_BYTES_MAX, this.#bytes)));
      chunk.copy(this.#block, 0, start, end);
      this.#chunks.push(this.#block.subarray(0, count));
    }
    this.#bytes += count;
    return true;
  }

  /** All bytes in one piece. */
  join(): Buffer {
    const [first, ...more] = this.#chunks;
    if (first === undefined) return NOTHING;
    if (more.length === 0) return first;
    const joined = Buffer.concat(this.#chunks, this.#bytes);
    this.#chunks.length = 0;
    this.#chunks.push(joined);
    this.#block = joined;
    return joined;
  }

  /** Keeps only the first `bytes`. */
  cut(bytes: number): void {
    const kept = this.join().subarray(0, bytes);
    this.#budget.give(this.#bytes - kept.length);
    this.#chunks.length = 0;
    this.#chunks.push(kept);
    this.#block = kept;
    this.#bytes = kept.length;
  }

  clear(): void {
    if (this.#chunks.length === 0) return;
    this.#budget.give(this.#bytes);
    this.#chunks.length = 0;
    this.#block = NOTHING;
    this.#bytes = 0;
  }
}
