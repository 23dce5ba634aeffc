import type { CompiledLimit } from '../policy/index.ts';
import type { QuotaNumber } from './shortage.ts';
import { DAY_MS, MINUTE_MS, TokenWindow } from './token-window.ts';

/** A number of a limit that has no room, and when it may have; null: that depends on others. */
export type Lack = {
  readonly number: QuotaNumber;
  readonly max: number;
  readonly retryDelayMs: number | null;
};

/** One caller's use of one limit, in this process. */
export class Account {
  /** Calls in progress. */
  calls = 0;
  /** Tokens that calls in progress may still use. */
  reserved = 0;
  /** When it was last asked for. */
  touchedAtMs = 0;
  /** When the next call is due: the theoretical arrival time of the generic cell rate algorithm. */
  #dueAtMs = 0;
  #minute: TokenWindow | null = null;
  #day: TokenWindow | null = null;

  /** What keeps another call from beginning, tokens aside. */
  lackFor(limit: CompiledLimit, nowMs: number): Lack | null {
    const { requests, concurrentCallsMax } = limit;
    if (requests !== null) {
      // ITU-T I.371 annex A, virtual scheduling: early by at most (burst − 1) intervals.
      const earlyMs = this.#dueAtMs - nowMs - ((requests.burst - 1) * 1000) / requests.perSecond;
      if (earlyMs > 0)
        return { number: 'requests-per-second', max: requests.perSecond, retryDelayMs: earlyMs };
    }
    if (concurrentCallsMax !== null && this.calls >= concurrentCallsMax)
      return { number: 'concurrent-calls', max: concurrentCallsMax, retryDelayMs: null };
    return null;
  }

  begin(limit: CompiledLimit, nowMs: number): void {
    this.calls += 1;
    if (limit.requests !== null)
      this.#dueAtMs = Math.max(this.#dueAtMs, nowMs) + 1000 / limit.requests.perSecond;
  }

  /** Takes back what `begin` did: the call does not take place. */
  undo(limit: CompiledLimit): void {
    this.calls -= 1;
    if (limit.requests !== null) this.#dueAtMs -= 1000 / limit.requests.perSecond;
  }

  /** Tokens that neither count as used nor are reserved. */
  tokensLeft(limit: CompiledLimit, nowMs: number): number {
    const { tokensPerMinuteMax, tokensPerDayMax } = limit;
    let left = Number.POSITIVE_INFINITY;
    if (tokensPerMinuteMax !== null) left = tokensPerMinuteMax - (this.#minute?.total(nowMs) ?? 0);
    if (tokensPerDayMax !== null) left = Math.min(left, tokensPerDayMax - (this.#day?.total(nowMs) ?? 0));
    return left - this.reserved;
  }

  /** Tokens that were reserved are used. */
  use(limit: CompiledLimit, nowMs: number, tokens: number): void {
    this.reserved -= tokens;
    if (limit.tokensPerMinuteMax !== null) (this.#minute ??= new TokenWindow(MINUTE_MS)).add(nowMs, tokens);
    if (limit.tokensPerDayMax !== null) (this.#day ??= new TokenWindow(DAY_MS)).add(nowMs, tokens);
  }

  /** Why there is no room for so many tokens, and when there may be. */
  tokenLack(limit: CompiledLimit, nowMs: number, tokens: number): Lack {
    const minute = lackIn(this.#minute, limit.tokensPerMinuteMax, nowMs, tokens + this.reserved);
    const day = lackIn(this.#day, limit.tokensPerDayMax, nowMs, tokens + this.reserved);
    // The longer wait decides, and one that can't be told is longer than any.
    return (day ?? Number.NEGATIVE_INFINITY) >= (minute ?? Number.NEGATIVE_INFINITY)
      ? { number: 'tokens-per-day', max: limit.tokensPerDayMax ?? 0, retryDelayMs: finite(day) }
      : { number: 'tokens-per-minute', max: limit.tokensPerMinuteMax ?? 0, retryDelayMs: finite(minute) };
  }

  /** The largest share of any of the limit's numbers that is taken, 0 to 1. */
  useRatio(limit: CompiledLimit, nowMs: number): number {
    const { concurrentCallsMax, tokensPerMinuteMax, tokensPerDayMax } = limit;
    return Math.max(
      concurrentCallsMax === null ? 0 : this.calls / concurrentCallsMax,
      tokensPerMinuteMax === null
        ? 0
        : ((this.#minute?.total(nowMs) ?? 0) + this.reserved) / tokensPerMinuteMax,
      tokensPerDayMax === null ? 0 : ((this.#day?.total(nowMs) ?? 0) + this.reserved) / tokensPerDayMax,
    );
  }

  /** Whether nothing of it counts any more, so that a new account would say the same; one in use just now is not. */
  isIdle(nowMs: number): boolean {
    return (
      this.calls === 0 &&
      this.touchedAtMs !== nowMs &&
      this.reserved === 0 &&
      this.#dueAtMs <= nowMs &&
      (this.#minute?.total(nowMs) ?? 0) === 0 &&
      (this.#day?.total(nowMs) ?? 0) === 0
    );
  }
}

/** Null: this window has room. Infinity: how long it takes depends on others. */
function lackIn(
  window: TokenWindow | null,
  max: number | null,
  nowMs: number,
  wanted: number,
): number | null {
  if (max === null) return null;
  const excess = (window?.total(nowMs) ?? 0) + wanted - max;
  if (excess <= 0) return null;
  const freeAtMs = window?.freeAtMs(nowMs, excess) ?? null;
  return freeAtMs === null ? Number.POSITIVE_INFINITY : freeAtMs - nowMs;
}

function finite(ms: number | null): number | null {
  return ms !== null && Number.isFinite(ms) ? ms : null;
}
