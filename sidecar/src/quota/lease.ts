import type { CompiledLimit } from '../policy/index.ts';
import type { LimitStates } from './limit-states.ts';
import type { QuotaShortage } from './shortage.ts';
import type { QuotaHold } from './store.ts';
import type { QuotaLease, QuotaSubject } from './subject.ts';

/** More tokens than that are an app's mistake, and beyond what stores count exactly. */
const TOKENS_MAX = 1e15;

/** What a call asks for. */
export type Demand = {
  readonly subject: QuotaSubject;
  /** Those that concern its model as well. */
  readonly limits: readonly CompiledLimit[];
  /** Tokens; null: nothing counts them. */
  readonly wanted: number | null;
  /** What the call can use at most; null: that is not known. */
  readonly bound: number | null;
  /** Of what is wanted. */
  readonly outputReserved: number;
};

/** A call's room in all of its limits, whatever stores they are kept in. */
export class Lease implements QuotaLease {
  readonly #demand: Demand;
  readonly #states: LimitStates;
  readonly #first: QuotaHold;
  readonly #second: QuotaHold | null;
  #inputTokens = 0;
  #outputTokens = 0;
  /** Tokens that have been delivered. */
  #used = 0;

  constructor(demand: Demand, states: LimitStates, first: QuotaHold, second: QuotaHold | null) {
    this.#demand = demand;
    this.#states = states;
    this.#first = first;
    this.#second = second;
  }

  get touched(): readonly string[] {
    return this.#demand.limits.map(({ id }) => id);
  }

  get readsUsage(): boolean {
    return this.#demand.wanted !== null && this.#demand.subject.tokens?.isMetered === true;
  }

  settle(inputTokens: number | undefined, outputTokens: number | undefined): QuotaShortage | null {
    if (this.#demand.wanted === null) return null;
    const isFirstInput = this.#inputTokens === 0 && inputTokens !== undefined && inputTokens > 0;
    if (inputTokens !== undefined) this.#inputTokens = larger(this.#inputTokens, inputTokens);
    if (outputTokens !== undefined) this.#outputTokens = larger(this.#outputTokens, outputTokens);
    const used = this.#inputTokens + this.#outputTokens;
    const shortage = this.#first.use(used) ?? this.#second?.use(used) ?? null;
    if (shortage !== null) {
      this.#stateOf(shortage)?.countEndedMidway();
      return shortage;
    }
    this.#used = used;
    // The input was counted: what its bound was too high by goes back at once.
    if (isFirstInput) this.#reserveAtMost(Math.max(used, this.#inputTokens + this.#demand.outputReserved));
    return null;
  }

  release(answered: boolean): void {
    const { limits, wanted, subject } = this.#demand;
    if (wanted !== null && subject.tokens?.isMetered === false && answered) {
      this.#used = this.#first.reserved;
      this.#first.use(this.#used);
      this.#second?.use(this.#used);
    }
    this.#first.release();
    this.#second?.release();
    if (this.#used === 0) return;
    for (const limit of limits) if (limit.countsTokens) this.#states.of(limit).tokensUsed += this.#used;
  }

  #reserveAtMost(tokens: number): void {
    this.#first.reserveAtMost(tokens);
    this.#second?.reserveAtMost(tokens);
  }

  #stateOf(shortage: QuotaShortage) {
    const limit = 'limitId' in shortage && this.#demand.limits.find(({ id }) => id === shortage.limitId);
    return limit ? this.#states.of(limit) : null;
  }
}

/** What is told is cumulative, so a smaller number, or none at all, changes nothing. */
function larger(known: number, told: number): number {
  return told > known ? Math.min(told, TOKENS_MAX) : known;
}
