/** A failure weighs as a call that took this long, so that failing fast attracts no load. */
const FAILURE_MS = 30_000;
/** Weight of the newest observation. */
const NEWEST_SHARE = 0.2;
/** Without observations the estimate halves in this time, so that nobody is shunned for ever. */
const HALF_LIFE_MS = 10_000;
/** The same after a failure: an endpoint that is back gets its first call within seconds, and one that is not gets one in ten seconds. */
const HALF_LIFE_FAILED_MS = 1_000;
/** Latencies below this are alike. */
const LATENCY_MS_FLOOR = 1;

/** What one more call at an endpoint would cost: calls in progress times the latency that is to be expected. */
export class LoadEstimate {
  private active = 0;
  private latencyMs = 0;
  private atMs = 0;
  private failed = false;

  get callsActive(): number {
    return this.active;
  }

  begin(): void {
    this.active += 1;
  }

  end(): void {
    this.active -= 1;
  }

  /** @param latencyMs from begin to the first response message or final status */
  observe(succeeded: boolean, latencyMs: number, nowMs: number): void {
    const sample = succeeded ? latencyMs : Math.max(latencyMs, FAILURE_MS);
    this.latencyMs =
      this.atMs === 0 ? sample : this.latency(nowMs) * (1 - NEWEST_SHARE) + sample * NEWEST_SHARE;
    this.atMs = nowMs;
    this.failed = !succeeded;
  }

  /** The expected latency in milliseconds, failures weighed in. */
  latency(nowMs: number): number {
    return this.latencyMs * 0.5 ** ((nowMs - this.atMs) / (this.failed ? HALF_LIFE_FAILED_MS : HALF_LIFE_MS));
  }

  cost(nowMs: number): number {
    return (this.active + 1) * (this.latency(nowMs) + LATENCY_MS_FLOOR);
  }
}
