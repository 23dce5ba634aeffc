/** A window stays open for at least as long, so that what the last one changed can be seen. */
const OPEN_MS_MIN = 100;
/** Samples that make a window worth closing. */
const SAMPLES_MIN = 25;
/** Where calls are few: after as long, so many are enough. */
const OPEN_MS_MAX = 5000;
const SAMPLES_FEW = 5;
/** Samples kept of one window; further ones are left out. */
const SAMPLES_MAX = 256;
const LOW_QUANTILE = 0.1;

/** What one window has measured. */
export type WindowSummary = {
  readonly medianMs: number;
  /** Nine of ten calls took longer. */
  readonly lowMs: number;
  /** Calls in flight, on average, when those that were measured began. */
  readonly load: number;
  /** The most that were in flight at once. */
  readonly inFlightPeak: number;
};

/**
 * Times to the first response message of calls that began while the window was open. Calls from before are left out:
 * what they waited for says how long the queue was under the limit before this one.
 */
export class LatencyWindow {
  readonly #tookMs = new Float64Array(SAMPLES_MAX);
  #openedAtMs: number;
  #count = 0;
  #aheadSum = 0;
  #inFlightPeak = 0;

  constructor(nowMs: number) {
    this.#openedAtMs = nowMs;
  }

  /** @param ahead calls in flight when this one began, itself included */
  add(tookMs: number, begunAtMs: number, ahead: number): void {
    if (begunAtMs < this.#openedAtMs || this.#count === SAMPLES_MAX) return;
    this.#tookMs[this.#count++] = tookMs;
    this.#aheadSum += ahead;
  }

  sawInFlight(calls: number): void {
    if (calls > this.#inFlightPeak) this.#inFlightPeak = calls;
  }

  isDue(nowMs: number): boolean {
    const openMs = nowMs - this.#openedAtMs;
    if (openMs < OPEN_MS_MIN) return false;
    return this.#count >= SAMPLES_MIN || (openMs >= OPEN_MS_MAX && this.#count >= SAMPLES_FEW);
  }

  /** Sums up and opens again. Only when due. */
  close(nowMs: number): WindowSummary {
    const sorted = this.#tookMs.subarray(0, this.#count).sort();
    const summary = {
      medianMs: sorted[Math.floor(sorted.length / 2)] as number,
      lowMs: sorted[Math.floor(sorted.length * LOW_QUANTILE)] as number,
      load: this.#aheadSum / this.#count,
      inFlightPeak: this.#inFlightPeak,
    };
    this.open(nowMs);
    return summary;
  }

  /** Opens again, without what it has measured. */
  open(nowMs: number): void {
    this.#openedAtMs = nowMs;
    this.#count = 0;
    this.#aheadSum = 0;
    this.#inFlightPeak = 0;
  }
}
