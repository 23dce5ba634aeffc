/** How often something may happen: `burst` at once, and `perSecond` in the long run. Both 1 or more. */
export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

export class TokenBucket {
  private readonly limit: RateLimit;
  private tokens: number;
  private filledAtMs: number;

  constructor(limit: RateLimit, nowMs: number) {
    this.limit = limit;
    this.tokens = limit.burst;
    this.filledAtMs = nowMs;
  }

  /** Takes tokens; false when there are not as many. */
  take(nowMs: number, tokens = 1): boolean {
    const earned = ((nowMs - this.filledAtMs) / 1000) * this.limit.perSecond;
    this.tokens = Math.min(this.limit.burst, this.tokens + earned);
    this.filledAtMs = nowMs;
    if (this.tokens < tokens) return false;
    this.tokens -= tokens;
    return true;
  }
}
