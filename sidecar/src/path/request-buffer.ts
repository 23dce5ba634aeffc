import type { ByteBudget } from './byte-budget.ts';

/**
 * The request's bytes from the first on: kept until the call has somewhere to go, and after that for as long as it may
 * have to go somewhere else. Within a limit per call and one for the process.
 */
export class RequestBuffer {
  readonly #budget: ByteBudget;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

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
    if (!this.#budget.take(end - start)) return false;
    const kept = Buffer.allocUnsafe(end - start);
    chunk.copy(kept, 0, start, end);
    this.#chunks.push(kept);
    this.#bytes += end - start;
    return true;
  }

  /** All bytes in one piece. */
  join(): Buffer {
    const [first, ...more] = this.#chunks;
    if (first === undefined) return Buffer.alloc(0);
    if (more.length === 0) return first;
    const joined = Buffer.concat(this.#chunks, this.#bytes);
    this.#chunks.length = 0;
    this.#chunks.push(joined);
    return joined;
  }

  /** Keeps only the first `bytes`. */
  cut(bytes: number): void {
    const kept = this.join().subarray(0, bytes);
    this.#budget.give(this.#bytes - kept.length);
    this.#chunks.length = 0;
    this.#chunks.push(kept);
    this.#bytes = kept.length;
  }

  clear(): void {
    if (this.#chunks.length === 0) return;
    this.#budget.give(this.#bytes);
    this.#chunks.length = 0;
    this.#bytes = 0;
  }
}
