export type RetryBudgetOptions = {
  /** Retries that calls earn, in percent of calls. Default 20, 0 to 100. */
  readonly retryPercent: number;
  /** Retries per second that need no calls, so that a quiet caller can retry at all. Default 3, from 0. */
  readonly retriesPerSecondMin: number;
  /** Most retries saved up, and thus the largest burst. Default 50, from 1. */
  readonly retriesSavedMax: number;
};

export const defaultRetryBudgetOptions: RetryBudgetOptions = Object.freeze({
  retryPercent: 20,
  retriesPerSecondMin: 3,
  retriesSavedMax: 50,
});

/**
 * Bounds what retries add to an upstream's load: when everything fails, retries are a fixed share on top and not a
 * multiple. A budget belongs to an upstream, not to a call. It begins full.
 */
export class RetryBudget {
  private readonly options: RetryBudgetOptions;
  private readonly clock: () => number;
  private saved: number;
  private atMs: number;

  /** @param clock milliseconds, never going back */
  constructor(options: RetryBudgetOptions, clock: () => number) {
    this.options = options;
    this.clock = clock;
    this.saved = options.retriesSavedMax;
    this.atMs = clock();
  }

  /** Retries that could be made at once. */
  get available(): number {
    this.refill();
    return Math.floor(this.saved);
  }

  /** Counts a call's first attempt. */
  deposit(): void {
    this.saved = Math.min(this.saved + this.options.retryPercent / 100, this.options.retriesSavedMax);
  }

  /** Takes one retry; false when the budget is spent and the call has to fail as it is. */
  withdraw(): boolean {
    this.refill();
    if (this.saved < 1) {
      return false;
    }
    this.saved -= 1;
    return true;
  }

  private refill(): void {
    const nowMs = this.clock();
    const earned = ((nowMs - this.atMs) / 1_000) * this.options.retriesPerSecondMin;
    this.saved = Math.min(this.saved + earned, this.options.retriesSavedMax);
    this.atMs = nowMs;
  }
}
