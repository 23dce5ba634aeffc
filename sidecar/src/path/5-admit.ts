import type { QuotaLease } from '../quota/index.ts';
import { type LoadShedder, priorityOf } from '../shed/index.ts';
import type { Authenticated } from './3-authenticate.ts';
import type { Permitted } from './4-authorise.ts';
import type { Clock } from './call.ts';
import type { Refusal } from './refusal.ts';

/** A call that has a place among those in progress, which must be given back with `release`. */
export type Placed = Permitted & { readonly admission: Admission };

/** A call that there is room for, also in the limits that concern it. What it has of them must be given back as well. */
export type Admitted = Placed & { readonly quota: QuotaLease };

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
  readonly #shedder: LoadShedder | null;
  readonly #clock: Clock;
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
   * @param shedder null: no load is shed before callsActiveMax
   */
  constructor(
    limits: { readonly callsActiveMax: number; readonly streamsPerConnectionMax: number },
    shedder: LoadShedder | null,
    clock: Clock,
  ) {
    this.#shedder = shedder;
    this.#clock = clock;
    this.callsActiveMax = limits.callsActiveMax;
    this.lingeringMax = limits.streamsPerConnectionMax;
  }

  get callsActive(): number {
    return this.#callsActive;
  }

  /** Whether the first message has to be read for its priority: only where some calls would be turned away. */
  asksPriority({ method, path }: Authenticated): boolean {
    if (this.#shedder === null || method.requestFields?.reads('priority') !== true) return false;
    const isSingle = method.kind === 'unary' || method.kind === 'server-streaming';
    return isSingle && this.#shedder.laneOf(path, this.#clock()).asksPriority;
  }

  /** Takes a place, or refuses at once: a call that waits here would only be late. */
  admit(call: Permitted): Placed | Refusal {
    if (this.#callsActive >= this.callsActiveMax) return overloaded('callsActiveMax', this.callsActiveMax);
    if (this.#lingering.size > 0 && (this.#lingering.get(call.identity) ?? 0) >= this.lingeringMax)
      return { kind: 'too-many-left', max: this.lingeringMax };
    const refusal = this.#shedder === null ? null : enterLane(call, this.#shedder);
    if (refusal !== null) return refusal;
    this.#callsActive += 1;
    call.admission = this.#admission;
    return call as Placed;
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

/** @returns why the call can't go to the app now; null when it has entered its lane, which it must leave */
function enterLane(call: Permitted, shedder: LoadShedder): Refusal | null {
  const nowMs = call.decidedAtMs;
  const lane = shedder.laneOf(call.path, nowMs);
  const priority = priorityOf(call.requestValues?.priority);
  const shed = lane.enter({ priority, remainingMs: call.deadlineAtMs - nowMs, nowMs });
  if (shed !== null) return { kind: 'shed', shed };
  call.lane = lane;
  call.laneAhead = lane.inFlight;
  return null;
}

function overloaded(limit: string, max: number): Refusal {
  return { kind: 'overloaded', limit, max, retryDelayMs: RETRY_DELAY_MS };
}
