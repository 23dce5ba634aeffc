import type { CompiledLimit } from '../policy/index.ts';
import { Account } from './account.ts';

/** A round looks at as many accounts for one that can go. */
const SWEPT_MAX = 128;
/** Limits that came and went with policies are forgotten beyond as many. */
const STATES_MAX = 10_000;

/** What is kept of one limit: its accounts in this process, and counts for metrics. */
export class LimitState {
  readonly id: string;
  readonly accounts = new Map<string, Account>();
  /** As the policy in force has it. */
  limit: CompiledLimit;
  admitted = 0;
  /** Admitted with fewer tokens than the call's bound. */
  shrunk = 0;
  tokensUsed = 0;
  /** Counted by this sidecar alone, because the shared store could not be asked. */
  countedLocally = 0;
  /** By what was short. */
  readonly refused = new Map<string, number>();
  /** Ended in their middle. */
  endedMidway = 0;

  constructor(limit: CompiledLimit) {
    this.id = limit.id;
    this.limit = limit;
  }

  countEndedMidway(): void {
    this.endedMidway += 1;
  }

  countRefused(reason: string): void {
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1);
  }
}

/**
 * The accounts of all limits, by the limit's id and what it is counted by: a new policy goes on with them. Their number is
 * bounded. Only an account that counts nothing any more is ever forgotten, so that nobody gains by filling them up.
 */
export class LimitStates {
  readonly accountsMax: number;
  readonly #states = new Map<string, LimitState>();
  readonly #byLimit = new WeakMap<CompiledLimit, LimitState>();
  #accounts = 0;
  #sweep: Iterator<readonly [LimitState, string, Account]> = this.#round();

  constructor(accountsMax: number) {
    this.accountsMax = accountsMax;
  }

  get accounts(): number {
    return this.#accounts;
  }

  of(limit: CompiledLimit): LimitState {
    return this.#byLimit.get(limit) ?? this.#adopt(limit);
  }

  /** Null: every account that may be kept still counts something. */
  account(limit: CompiledLimit, key: string, nowMs: number): Account | null {
    const { accounts } = this.of(limit);
    let account = accounts.get(key);
    if (account === undefined) {
      if (this.#accounts >= this.accountsMax && !this.#makeRoom(nowMs)) return null;
      accounts.set(key, (account = new Account()));
      this.#accounts += 1;
    }
    account.touchedAtMs = nowMs;
    return account;
  }

  /** Those of limits that have been met. */
  all(): Iterable<LimitState> {
    return this.#states.values();
  }

  #adopt(limit: CompiledLimit): LimitState {
    const name = JSON.stringify([limit.id, limit.per]);
    let state = this.#states.get(name);
    if (state === undefined) {
      if (this.#states.size >= STATES_MAX) this.#forgetEmpty();
      this.#states.set(name, (state = new LimitState(limit)));
    }
    state.limit = limit;
    this.#byLimit.set(limit, state);
    return state;
  }

  #forgetEmpty(): void {
    for (const [name, { accounts }] of this.#states) if (accounts.size === 0) this.#states.delete(name);
  }

  /** Looks at the next accounts in turn, and forgets those that count nothing. */
  #makeRoom(nowMs: number): boolean {
    for (let seen = 0; seen < Math.min(SWEPT_MAX, this.accountsMax); seen++) {
      let next = this.#sweep.next();
      if (next.done === true) {
        this.#sweep = this.#round();
        next = this.#sweep.next();
        if (next.done === true) break;
      }
      const [{ accounts }, key, account] = next.value;
      if (!account.isIdle(nowMs)) continue;
      accounts.delete(key);
      this.#accounts -= 1;
    }
    return this.#accounts < this.accountsMax;
  }

  *#round(): Generator<readonly [LimitState, string, Account]> {
    for (const state of this.#states.values())
      for (const [key, account] of state.accounts) yield [state, key, account];
  }
}
