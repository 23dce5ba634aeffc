import type { Permitted } from './4-authorise.ts';
import type { Refusal } from './refusal.ts';

/** A call that there is room for. Its place must be given back with `release`. */
export type Admitted = Permitted & { readonly admission: Admission };

/** A taken place among the calls in progress. */
export type Admission = { readonly release: () => void };

/** When a caller that was turned away may try again. */
const RETRY_DELAY_MS = 100;

/** Places for calls in progress in one direction. */
export class AdmissionControl {
  readonly callsActiveMax: number;
  #callsActive = 0;
  readonly #admission: Admission = { release: () => (this.#callsActive -= 1) };

  constructor(callsActiveMax: number) {
    this.callsActiveMax = callsActiveMax;
  }

  get callsActive(): number {
    return this.#callsActive;
  }

  /** Takes a place, or refuses at once: a call that waits here would only be late. */
  admit(call: Permitted): Admitted | Refusal {
    if (this.#callsActive >= this.callsActiveMax) {
      return {
        kind: 'overloaded',
        limit: 'callsActiveMax',
        max: this.callsActiveMax,
        retryDelayMs: RETRY_DELAY_MS,
      };
    }
    this.#callsActive += 1;
    call.admission = this.#admission;
    return call as Admitted;
  }
}
