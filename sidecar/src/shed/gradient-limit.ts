import type { WindowSummary } from './latency-window.ts';

/** How much longer than unloaded a call may take at least: Envoy's minRTT buffer. */
const BUFFER_SHARE = 0.25;
/** To begin limiting takes more than to go on with it. */
const ENTRY_BUFFER_SHARE = 0.5;
/** What windows are over the bound by, as a share of it, adds up to this before calls are limited. */
const EVIDENCE_MIN = 1;
/** One window changes the limit by at most this (Envoy's clamp). */
const GRADIENT_MIN = 0.5;
const GRADIENT_MAX = 2;
const SMOOTHING = 0.1;
/** While calls are limited, the unloaded latency is measured again as often, at this share of the limit. */
const PROBE_EVERY_MS = 30_000;
const PROBE_SHARE = 0.5;
/** The first time, after as many windows: the limit has settled then. */
const SETTLED_WINDOWS = 8;
/** Longer than this no probe waits for calls to end. */
const PROBE_CALM_MS_MAX = 10_000;

export type GradientBounds = {
  /** The limit is never below; with as few calls in flight, latencies count as unloaded. */
  readonly limitMin: number;
  /** The limit is never above, and begins here. */
  readonly limitMax: number;
  /** How long a call may wait at the app beyond the unloaded latency. */
  readonly waitMsMax: number;
};

/**
 * How many calls may be at the app at once: the gradient controller of Envoy's adaptive concurrency filter
 * (limit × gradient + √limit, where gradient = (unloaded + buffer) / measured, from 0.5 to 2), with these differences.
 * - Measured is the time to the first response message. A whole stream lasts as long as what a model has to say.
 * - Envoy measures the unloaded latency by letting almost nothing through every minute. Streams hold their places, so
 *   that would shed all calls for as long as the longest stream. Here it is the lowest (smoothed) latency so far; while
 *   calls are limited, it is measured anew at half the limit. Where calls queue, half the limit is past the queue; where
 *   they don't, latency does not change with the limit, the unloaded latency was set too low, and the limit goes.
 * - A limit that nothing has reached says nothing, so it falls from the number in flight of the calls that were slow.
 * - Nothing is limited until windows that are clearly too slow add up: latencies of models vary.
 */
export class GradientLimit {
  readonly #bounds: GradientBounds;
  #limit: number;
  #unloadedMs: number | null = null;
  #smoothedMs = 0;
  #evidence = 0;
  /** Windows since calls are limited. */
  #windows = 0;
  #probedAtMs = Number.NEGATIVE_INFINITY;
  #probe: 'none' | 'calming' | 'measuring' = 'none';

  constructor(bounds: GradientBounds) {
    this.#bounds = bounds;
    this.#limit = bounds.limitMax;
  }

  get limit(): number {
    return this.#limit;
  }

  /** The limit at this moment, for calls that a probe may hold up. */
  get limitNow(): number {
    return this.#probe === 'none' ? this.#limit : Math.max(this.#bounds.limitMin, this.#limit * PROBE_SHARE);
  }

  /** Null until something has been measured. */
  get unloadedMs(): number | null {
    return this.#unloadedMs;
  }

  get isLimiting(): boolean {
    return this.#limit < this.#bounds.limitMax;
  }

  /** A probe waits until so few calls are in flight as `limitNow` says. */
  get awaitsCalm(): boolean {
    return this.#probe === 'calming';
  }

  /** @returns whether the probe begins to measure: what was measured before does not belong to it */
  becomesCalm(inFlight: number, nowMs: number): boolean {
    if (inFlight <= this.limitNow) {
      this.#probe = 'measuring';
      return true;
    }
    if (nowMs - this.#probedAtMs > PROBE_CALM_MS_MAX) this.#probe = 'none';
    return false;
  }

  /** @param isBinding whether calls have been turned away by the limit since the window opened */
  update(window: WindowSummary, isBinding: boolean, nowMs: number): void {
    if (this.#probe === 'measuring') {
      this.#probe = 'none';
      this.#unloadedMs = this.#smoothedMs = window.medianMs;
      return;
    }
    const isUnloaded = window.inFlightPeak <= this.#bounds.limitMin;
    const unloadedMs = this.#learn(window.medianMs, isUnloaded);
    if (this.isLimiting) {
      this.#adjust(window, unloadedMs, isUnloaded);
      this.#windows += 1;
      const isDue = this.#windows >= SETTLED_WINDOWS && nowMs - this.#probedAtMs >= PROBE_EVERY_MS;
      if (isDue && isBinding && this.isLimiting) {
        this.#probe = 'calming';
        this.#probedAtMs = nowMs;
      }
      return;
    }
    const ratio = window.medianMs / this.#allowedMs(unloadedMs, ENTRY_BUFFER_SHARE);
    this.#evidence = isUnloaded || ratio <= 1 ? 0 : this.#evidence + ratio - 1;
    if (this.#evidence < EVIDENCE_MIN) return;
    this.#evidence = 0;
    this.#windows = 0;
    this.#adjust(window, unloadedMs, isUnloaded);
  }

  #adjust(window: WindowSummary, unloadedMs: number, isUnloaded: boolean): void {
    const { limitMin, limitMax } = this.#bounds;
    const gradient = clamp(
      this.#allowedMs(unloadedMs, BUFFER_SHARE) / window.medianMs,
      GRADIENT_MIN,
      GRADIENT_MAX,
    );
    const isSlow = gradient < 1 && !isUnloaded;
    const target = isSlow
      ? Math.min(this.#limit, window.load) * gradient
      : this.#limit * Math.max(1, gradient);
    this.#limit = clamp(target + Math.sqrt(target), limitMin, limitMax);
  }

  #allowedMs(unloadedMs: number, bufferShare: number): number {
    return unloadedMs + Math.max(unloadedMs * bufferShare, this.#bounds.waitMsMax);
  }

  #learn(medianMs: number, isUnloaded: boolean): number {
    const known = this.#unloadedMs;
    if (known === null) return (this.#unloadedMs = this.#smoothedMs = medianMs);
    this.#smoothedMs += SMOOTHING * (medianMs - this.#smoothedMs);
    const risen = isUnloaded ? known + SMOOTHING * (medianMs - known) : known;
    return (this.#unloadedMs = Math.min(risen, this.#smoothedMs));
  }
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}
