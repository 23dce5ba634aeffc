/** Buckets that a window is counted in. */
export const WINDOW_BUCKETS = 60;
const SLOTS = WINDOW_BUCKETS + 1;

/** Of tokens per minute and of tokens per day. */
export const MINUTE_MS = 60_000;
export const DAY_MS = 86_400_000;

/**
 * Counts tokens in a rolling window, never too few: a sliding window of sixty buckets and the one that is being filled
 * (the "sliding window counter" without its interpolation, which errs on both sides). What was added counts for the whole
 * window and for at most one bucket more, a sixtieth: in no window do more tokens fit than the total allows, and a token
 * comes back after 60 to 61 seconds, or after 24 hours to 24 hours and 24 minutes.
 */
export class TokenWindow {
  readonly #bucketMs: number;
  /** By bucket number modulo their count; made when the first tokens come. */
  #buckets: Float64Array | null = null;
  /** Number of the bucket that is being filled, from 1970. */
  #newest = 0;
  #total = 0;

  constructor(windowMs: number) {
    this.#bucketMs = windowMs / WINDOW_BUCKETS;
  }

  /** Tokens that count at this moment. */
  total(nowMs: number): number {
    if (this.#total > 0) this.#advance(nowMs);
    return this.#total;
  }

  add(nowMs: number, tokens: number): void {
    this.#buckets ??= new Float64Array(SLOTS);
    this.#advance(nowMs);
    const slot = this.#newest % SLOTS;
    this.#buckets[slot] = (this.#buckets[slot] as number) + tokens;
    this.#total += tokens;
  }

  /** When so many of the tokens will have stopped counting; null: there are not as many. */
  freeAtMs(nowMs: number, tokens: number): number | null {
    if (tokens > this.total(nowMs)) return null;
    let freed = 0;
    for (let number = this.#newest - WINDOW_BUCKETS; number <= this.#newest; number++) {
      freed += this.#buckets?.[number % SLOTS] ?? 0;
      if (freed >= tokens) return (number + SLOTS) * this.#bucketMs;
    }
    return null;
  }

  /** A clock that goes back does not move the window. */
  #advance(nowMs: number): void {
    const newest = Math.floor(nowMs / this.#bucketMs);
    if (newest <= this.#newest) return;
    const first = Math.max(this.#newest + 1, newest - WINDOW_BUCKETS);
    this.#newest = newest;
    if (this.#buckets === null || this.#total === 0) return;
    for (let number = first; number <= newest; number++) {
      const slot = number % SLOTS;
      this.#total -= this.#buckets[slot] as number;
      this.#buckets[slot] = 0;
    }
  }
}
