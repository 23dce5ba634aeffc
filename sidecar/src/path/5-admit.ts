import type { Permitted } from './4-authorise.ts';
import type { Refusal } from './refusal.ts';

/** A call that there is room for. Its place must be given back with `release`. */
export type Admitted = Permitted & { readonly admission: Admission };

/** A taken place among the calls in progress. */
export type Admission = {
  readonly release: () => void;
  /**
   * The caller has left, and the other side goes on with the call for now: that place stays taken, as one of its
   * identity's. @returns to be called when the other side has ended
   */
  readonly linger: (identity: string) => () => void;
};

/** When a caller that was turned away may try again. */
const RETRY_DELAY_MS = 100;

/** Places for calls in progress in one direction. */
export class AdmissionControl {
  readonly callsActiveMax: number;
  readonly lingeringMax: number;
  #callsActive = 0;
  /** Calls that callers have left and that go on at the other side, by identity; none are not in it. */
  readonly #lingering = new Map<string, number>();
  readonly #admission: Admission = {
    release: () => (this.#callsActive -= 1),
    linger: (identity) => this.#linger(identity),
  };

  /**
   * @param limits.callsActiveMax calls in progress
   * @param limits.streamsPerConnectionMax calls of one identity that it has left and that have not ended yet: with as
   *   many it may not begin another (CVE-2025-8671)
   */
  constructor(limits: { readonly callsActiveMax: number; readonly streamsPerConnectionMax: number }) {
    this.callsActiveMax = limits.callsActiveMax;
    this.lingeringMax = limits.streamsPerConnectionMax;
  }

  get callsActive(): number {
    return this.#callsActive;
  }

  /** Takes a place, or refuses at once: a call that waits here would only be late. */
  admit(call: Permitted): Admitted | Refusal {
    if (this.#callsActive >= this.callsActiveMax) return overloaded('callsActiveMax', this.callsActiveMax);
    if (this.#lingering.size > 0 && (this.#lingering.get(call.identity) ?? 0) >= this.lingeringMax)
      return overloaded('streamsPerConnectionMax', this.lingeringMax);
    this.#callsActive += 1;
    call.admission = this.#admission;
    return call as Admitted;
  }

  #linger(identity: string): () => void {
    this.#lingering.set(identity, (this.#lingering.get(identity) ?? 0) + 1);
    return () => {
      const left = (this.#lingering.get(identity) ?? 0) - 1;
      if (left > 0) this.#lingering.set(identity, left);
      else this.#lingering.delete(identity);
    };
  }
}

function overloaded(limit: string, max: number): Refusal {
  return { kind: 'overloaded', limit, max, retryDelayMs: RETRY_DELAY_MS };
}
