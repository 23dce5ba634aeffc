import { GradientLimit } from './gradient-limit.ts';
import { LatencyWindow } from './latency-window.ts';
import { PRIORITIES, type Priority } from './priority.ts';

/** Settings of load shedding; the same for every method. */
export type ShedLimits = {
  /** Calls of one method in flight below which none is shed, from 1. */
  readonly callsMin: number;
  /** How long a call may wait at the app beyond what it takes unloaded. */
  readonly waitMsMax: number;
  /** The part of the limit that calls of low priority may fill, in percent, up to `normalSharePercent`. */
  readonly lowSharePercent: number;
  /** The part of the limit that calls of low and normal priority may fill together, up to 100. */
  readonly normalSharePercent: number;
};

/** `concurrency`: the app is full. `deadline`: the answer would come too late. */
const SHED_REASONS = ['concurrency', 'deadline'] as const;

/** Why a call is shed. */
export type Shed = {
  readonly reason: (typeof SHED_REASONS)[number];
  readonly priority: Priority;
  /** The number of calls in flight that this priority may fill, or the milliseconds that calls take at least. */
  readonly bound: number;
  readonly retryDelayMs: number;
};

/** A call that wants to the app. */
export type Entry = {
  readonly priority: Priority;
  /** Until its deadline. */
  readonly remainingMs: number;
  readonly nowMs: number;
};

/** What was measured is worth this long. */
const RECENT_MS_MAX = 30_000;
const RETRY_DELAY_MS_MIN = 100;
const RETRY_DELAY_MS_MAX = 10_000;

/** The calls of one method: how many are at the app, how long they take, and which ones are let through. */
export class Lane {
  readonly #limits: ShedLimits;
  readonly #gradient: GradientLimit;
  readonly #window: LatencyWindow;
  /** Of the window that was closed last. */
  #recent = { medianMs: 0, lowMs: 0, atMs: Number.NEGATIVE_INFINITY };
  #inFlight = 0;
  /** Calls were turned away by the limit since the window opened. */
  #isBinding = false;
  readonly #shed = { concurrency: { low: 0, normal: 0, high: 0 }, deadline: { low: 0, normal: 0, high: 0 } };

  /** @param callsMax calls in flight that the sidecar allows anyway; the limit begins there */
  constructor(limits: ShedLimits, callsMax: number, nowMs: number) {
    this.#limits = limits;
    const limitMax = Math.max(callsMax, limitMinOf(limits));
    this.#gradient = new GradientLimit({
      limitMin: limitMinOf(limits),
      limitMax,
      waitMsMax: limits.waitMsMax,
    });
    this.#window = new LatencyWindow(nowMs);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get limit(): number {
    return Math.floor(this.#gradient.limit);
  }

  /** Null until something has been measured. */
  get unloadedMs(): number | null {
    return this.#gradient.unloadedMs;
  }

  /** Whether it depends on a call's priority if it is let through. */
  get asksPriority(): boolean {
    return this.#gradient.isLimiting && this.#inFlight >= this.#boundOf('low');
  }

  /** Lets a call through, and then `leave` must be called once; or says why not. */
  enter(entry: Entry): Shed | null {
    this.#measure(entry.nowMs);
    const shed = this.#inFlight < this.#limits.callsMin ? null : this.#judge(entry);
    if (shed === null) {
      this.#inFlight += 1;
      this.#window.sawInFlight(this.#inFlight);
    } else {
      this.#shed[shed.reason][shed.priority] += 1;
    }
    return shed;
  }

  leave(): void {
    this.#inFlight -= 1;
  }

  /**
   * A call has had its first response message, or has reached its deadline without one.
   * @param ahead `inFlight` right after it had entered
   */
  measured(tookMs: number, begunAtMs: number, ahead: number): void {
    this.#window.add(tookMs, begunAtMs, ahead);
  }

  *shedCounts(): Iterable<{ reason: Shed['reason']; priority: Priority; total: number }> {
    for (const reason of SHED_REASONS)
      for (const priority of PRIORITIES) yield { reason, priority, total: this.#shed[reason][priority] };
  }

  #judge({ priority, remainingMs, nowMs }: Entry): Shed | null {
    const { medianMs, lowMs, atMs } = this.#recent;
    const bound = this.#boundOf(priority);
    if (this.#gradient.isLimiting && this.#inFlight >= bound) {
      this.#isBinding = true;
      return {
        reason: 'concurrency',
        priority,
        bound: Math.floor(bound),
        retryDelayMs: retryDelay(medianMs),
      };
    }
    if (remainingMs < lowMs && nowMs - atMs <= RECENT_MS_MAX)
      return { reason: 'deadline', priority, bound: lowMs, retryDelayMs: retryDelay(lowMs - remainingMs) };
    return null;
  }

  #boundOf(priority: Priority): number {
    const { limit, limitNow } = this.#gradient;
    const { lowSharePercent, normalSharePercent } = this.#limits;
    switch (priority) {
      case 'low':
        return (limitNow * lowSharePercent) / 100;
      case 'normal':
        return (limitNow * normalSharePercent) / 100;
      case 'high':
        return limit;
    }
  }

  #measure(nowMs: number): void {
    if (this.#gradient.awaitsCalm) {
      if (this.#gradient.becomesCalm(this.#inFlight, nowMs)) this.#window.open(nowMs);
      return;
    }
    if (!this.#window.isDue(nowMs)) return;
    const summary = this.#window.close(nowMs);
    this.#gradient.update(summary, this.#isBinding, nowMs);
    this.#isBinding = false;
    this.#recent = { medianMs: summary.medianMs, lowMs: summary.lowMs, atMs: nowMs };
  }
}

/** So that the part for low priority is never below `callsMin`. */
function limitMinOf({ callsMin, lowSharePercent }: ShedLimits): number {
  return Math.ceil((callsMin * 100) / lowSharePercent);
}

function retryDelay(ms: number): number {
  return Math.min(RETRY_DELAY_MS_MAX, Math.max(RETRY_DELAY_MS_MIN, Math.round(ms)));
}
