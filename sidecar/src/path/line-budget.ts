/** Log lines about failed calls a second, in the long run and at once: a flood of calls must not become one of lines. */
const PER_SECOND = 50;
const BURST = 500;

/** Says which lines are written, and how many were left out since the last one. */
export class LineBudget {
  #tokens = BURST;
  #filledAtMs: number | null = null;
  #leftOut = 0;

  /** @returns how many lines were left out before this one, or null when this one is left out too */
  take(nowMs: number): number | null {
    const elapsedMs = nowMs - (this.#filledAtMs ?? nowMs);
    this.#filledAtMs = nowMs;
    this.#tokens = Math.min(BURST, this.#tokens + (elapsedMs / 1000) * PER_SECOND);
    if (this.#tokens < 1) {
      this.#leftOut += 1;
      return null;
    }
    this.#tokens -= 1;
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    return leftOut;
  }
}
