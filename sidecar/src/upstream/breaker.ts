import { EventEmitter } from 'node:events';
import CircuitBreaker from 'opossum';

/** What makes a call count against its endpoint. Denials, bad requests and cancellations by the caller never do. */
export type FailureCause = 'connect' | 'reset' | 'deadline' | 'internal' | 'unavailable';

/**
 * One call's outcome: its first response message or final status. `neutral` says nothing about the endpoint: denied,
 * invalid, cancelled by the caller, no stream free.
 */
export type Outcome = 'success' | 'failure' | 'neutral';

export type BreakerState = 'closed' | 'half-open' | 'open';

export type BreakerOptions = {
  /** Opens above this share of failures in the window. Default 50, 1 to 100. */
  readonly failurePercentMax: number;
  /** Fewer counted calls in the window never open it. Default 5, from 1. */
  readonly callsMin: number;
  /** The window, in ten steps. Default 10,000. */
  readonly windowMs: number;
  /** From opening to the first probe; doubles with every failed probe. Default 5,000. */
  readonly openMs: number;
  /** Where the doubling ends. Default 60,000. */
  readonly openMsMax: number;
  /** Probes that may be undecided at once while half-open. Default 3, from 1. */
  readonly probesMax: number;
  /** A probe undecided for longer makes room for the next one; its own outcome still counts. Default 5,000. */
  readonly probeMsMax: number;
};

export const defaultBreakerOptions: BreakerOptions = Object.freeze({
  failurePercentMax: 50,
  callsMin: 5,
  windowMs: 10_000,
  openMs: 5_000,
  openMsMax: 60_000,
  probesMax: 3,
  probeMsMax: 5_000,
});

export type BreakerChange = {
  readonly state: BreakerState;
  readonly previous: BreakerState;
  /** What opened it last; null before it first opened. */
  readonly openedBy: FailureCause | null;
  readonly atMs: number;
};

export type BreakerView = {
  readonly state: BreakerState;
  /** Since when, milliseconds since the epoch. */
  readonly sinceMs: number;
  /** What opened it last; null before it first opened. */
  readonly openedBy: FailureCause | null;
  /** Until the next probe; null unless open. */
  readonly nextProbeInMs: number | null;
  readonly successesTotal: number;
  readonly failuresTotal: number;
  readonly neutralsTotal: number;
  /** Calls that were turned away. */
  readonly rejectedTotal: number;
};

/** The leave to make one call. */
export type Permit = {
  /** The era in which it was given: outcomes of an earlier one no longer count. */
  readonly era: number;
  /** When the probe began, milliseconds since the epoch; null for a call through a closed breaker. */
  readonly probeBegunMs: number | null;
};

const WINDOW_STEPS = 10;
const FAILURE = new Error('the call failed');

/** What opossum fires. A failure is thrown at once, so that the breaker is open before the next call asks. */
function replay(succeeded: boolean): Promise<void> {
  if (!succeeded) {
    throw FAILURE;
  }
  return Promise.resolve();
}

/**
 * A circuit breaker whose window, thresholds, states and reset timer are opossum's. What it is told is not a running
 * call but a settled outcome: `fire` replays it. That is how it differs from opossum as it comes, where a half-open
 * breaker lets one call through and turns all others away until that one ends, however long it runs, and where
 * an error that the filter takes out closes the breaker. Here probes are admitted by `admit`, several at once and
 * each with a deadline, and a neutral outcome is never told at all.
 */
export class Breaker {
  private readonly options: BreakerOptions;
  private readonly clock: () => number;
  private readonly onChange: (change: BreakerChange) => void;
  private readonly circuit: CircuitBreaker<[boolean], void>;
  /** The object that opossum goes by; its `resetTimeout` grows while probes fail. */
  private readonly circuitOptions: CircuitBreaker.Options<[boolean]>;
  private readonly rotation = new EventEmitter();
  private readonly stepMs: number;
  private stepAtMs: number;
  private permit: Permit = { era: 0, probeBegunMs: null };
  private state: BreakerState = 'closed';
  private sinceMs: number;
  private openedBy: FailureCause | null = null;
  private cause: FailureCause = 'internal';
  private nextProbeAtMs = 0;
  /** Undecided probes within their deadline, oldest first. */
  private probes: Permit[] = [];
  private successesUntold = 0;
  private successesTotal = 0;
  private failuresTotal = 0;
  private neutralsTotal = 0;
  private rejectedTotal = 0;

  /** @param clock milliseconds since the epoch, never going back; the reset timer alone runs on real time */
  constructor(options: BreakerOptions, clock: () => number, onChange: (change: BreakerChange) => void) {
    this.options = options;
    this.clock = clock;
    this.onChange = onChange;
    this.sinceMs = clock();
    this.stepAtMs = this.sinceMs;
    this.stepMs = options.windowMs / WINDOW_STEPS;
    this.circuitOptions = {
      timeout: false,
      errorThresholdPercentage: options.failurePercentMax,
      volumeThreshold: options.callsMin,
      resetTimeout: options.openMs,
      rollingCountTimeout: options.windowMs,
      rollingCountBuckets: WINDOW_STEPS,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
      rotateBucketController: this.rotation,
    };
    this.circuit = new CircuitBreaker(replay, this.circuitOptions);
    this.circuit.on('open', () => this.changed('open'));
    this.circuit.on('halfOpen', () => this.changed('half-open'));
    this.circuit.on('close', () => this.changed('closed'));
  }

  /** Whether `admit` would give a permit now. */
  get admits(): boolean {
    return (
      this.state === 'closed' ||
      (this.state === 'half-open' && this.probesUndecided() < this.options.probesMax)
    );
  }

  /** Half-open and nobody is probing. */
  get wantsProbe(): boolean {
    return this.state === 'half-open' && this.probesUndecided() === 0;
  }

  /** Milliseconds until an open breaker admits a probe; 0 when it is not open. */
  get nextProbeInMs(): number {
    return this.state === 'open' ? Math.max(0, this.nextProbeAtMs - this.clock()) : 0;
  }

  /** @returns null when the call must not be made */
  admit(): Permit | null {
    if (this.state === 'closed') {
      return this.permit;
    }
    if (!this.admits) {
      this.rejectedTotal += 1;
      return null;
    }
    return this.probe();
  }

  /** Lets one call through although the breaker is open, unless another one is undecided. */
  admitInPanic(): Permit | null {
    if (this.state !== 'open') {
      return this.admit();
    }
    if (this.probesUndecided() > 0) {
      this.rejectedTotal += 1;
      return null;
    }
    return this.probe();
  }

  /** Tells the outcome of a permitted call, once. */
  settle(permit: Permit, outcome: Outcome, cause: FailureCause): void {
    const counts = permit.era === this.permit.era;
    if (permit.probeBegunMs !== null) {
      this.probes = this.probes.filter((probe) => probe !== permit);
    }
    if (outcome === 'neutral') {
      this.neutralsTotal += 1;
      return;
    }
    if (outcome === 'success') {
      this.successesTotal += 1;
    } else {
      this.failuresTotal += 1;
    }
    if (counts) {
      this.tell(outcome === 'success', cause);
    }
  }

  view(): BreakerView {
    return {
      state: this.state,
      sinceMs: this.sinceMs,
      openedBy: this.openedBy,
      nextProbeInMs: this.state === 'open' ? this.nextProbeInMs : null,
      successesTotal: this.successesTotal,
      failuresTotal: this.failuresTotal,
      neutralsTotal: this.neutralsTotal,
      rejectedTotal: this.rejectedTotal,
    };
  }

  /** Ends its timer; nothing is admitted or told afterwards. */
  close(): void {
    this.circuit.shutdown();
  }

  private tell(succeeded: boolean, cause: FailureCause): void {
    this.rotate();
    if (succeeded && this.state === 'closed') {
      this.successesUntold += 1;
      return;
    }
    if (this.state === 'open') {
      // A call let through in panic: opossum would turn it away, and it alone has seen the endpoint work.
      if (succeeded) {
        this.circuit.close();
      }
      return;
    }
    this.cause = cause;
    if (!succeeded && this.state === 'half-open') {
      const { resetTimeout = this.options.openMs } = this.circuitOptions;
      this.circuitOptions.resetTimeout = Math.min(resetTimeout * 2, this.options.openMsMax);
    }
    this.writeSuccesses();
    const fired = this.circuit.fire(succeeded);
    if (!succeeded) {
      fired.catch(() => undefined);
    }
  }

  /**
   * A success while closed changes nothing but two counts of opossum's window. They are written there together, before
   * the window is looked at or moves on: firing each would cost 2 µs a call and keep a latency that nobody reads.
   */
  private writeSuccesses(): void {
    const newest = this.circuit.status.window[0];
    if (newest !== undefined) {
      newest.fires += this.successesUntold;
      newest.successes += this.successesUntold;
    }
    this.successesUntold = 0;
  }

  private probe(): Permit {
    const permit = { era: this.permit.era, probeBegunMs: this.clock() };
    this.probes.push(permit);
    return permit;
  }

  private probesUndecided(): number {
    const begunAfterMs = this.clock() - this.options.probeMsMax;
    while ((this.probes[0]?.probeBegunMs ?? Number.POSITIVE_INFINITY) <= begunAfterMs) {
      this.probes.shift();
    }
    return this.probes.length;
  }

  /** Moves the window by the injected clock. */
  private rotate(): void {
    const nowMs = this.clock();
    if (nowMs - this.stepAtMs < this.stepMs) {
      return;
    }
    this.writeSuccesses();
    this.forget(Math.min(Math.floor((nowMs - this.stepAtMs) / this.stepMs), WINDOW_STEPS));
    this.stepAtMs = nowMs;
  }

  private forget(steps: number): void {
    for (let step = 0; step < steps; step += 1) {
      this.rotation.emit('rotate');
    }
  }

  private changed(state: BreakerState): void {
    const previous = this.state;
    const nowMs = this.clock();
    this.state = state;
    this.sinceMs = nowMs;
    if (state === 'open') {
      this.openedBy = this.cause;
      this.nextProbeAtMs = nowMs + (this.circuitOptions.resetTimeout ?? this.options.openMs);
    }
    if (state === 'closed') {
      this.circuitOptions.resetTimeout = this.options.openMs;
      // The failures that opened it must not open it again with the next one.
      this.forget(WINDOW_STEPS);
      this.successesUntold = 0;
    }
    if (state !== 'half-open') {
      this.permit = { era: this.permit.era + 1, probeBegunMs: null };
      this.probes = [];
    }
    this.onChange({ state, previous, openedBy: this.openedBy, atMs: nowMs });
  }
}
