import type { CompiledLimit } from '../policy/index.ts';
import type { Account, Lack } from './account.ts';
import { accountKey, accountName, UnusableClaim } from './account-key.ts';
import type { LimitStates } from './limit-states.ts';
import type { QuotaShortage } from './shortage.ts';
import type { QuotaHold } from './store.ts';
import type { QuotaSubject } from './subject.ts';

/** When a call that found no account may come again. */
const FULL_RETRY_MS = 1000;
const BEFORE = { wantedTokens: null, midway: false } as const;
const MIDWAY = { wantedTokens: null, midway: true } as const;

/** Counts in the memory of this process. */
export class MemoryStore {
  readonly #states: LimitStates;
  readonly #clock: () => number;

  constructor(states: LimitStates, clock: () => number) {
    this.#states = states;
    this.#clock = clock;
  }

  /**
   * Room in all of the limits, or in none.
   * @param wanted tokens that the call may use; null: it is not counted in tokens
   */
  admit(
    limits: readonly CompiledLimit[],
    subject: QuotaSubject,
    wanted: number | null,
  ): MemoryHold | QuotaShortage {
    const nowMs = this.#clock();
    const accounts: Account[] = [];
    let granted = wanted;
    for (let i = 0; i < limits.length; i++) {
      const limit = limits[i] as CompiledLimit;
      const account = this.#accountOf(limit, subject, nowMs);
      if ('kind' in account) return account;
      const lack = account.lackFor(limit, nowMs);
      if (lack !== null) return shortageOf(limit, subject, lack, BEFORE);
      accounts.push(account);
      if (wanted === null || granted === null || !limit.countsTokens) continue;
      const left = account.tokensLeft(limit, nowMs);
      if (left < 1 || (left < wanted && limit.whenShort === 'refuse')) {
        const wantedTokens = limit.whenShort === 'refuse' ? wanted : 1;
        const short = account.tokenLack(limit, nowMs, wantedTokens);
        return shortageOf(limit, subject, short, { wantedTokens, midway: false });
      }
      granted = Math.min(granted, left);
    }
    return new MemoryHold({ limits, accounts, subject, clock: this.#clock }, granted ?? 0, nowMs);
  }

  #accountOf(limit: CompiledLimit, subject: QuotaSubject, nowMs: number): Account | QuotaShortage {
    const key = accountKey(limit, subject);
    if (key instanceof UnusableClaim) return { kind: 'quota-claim', limitId: limit.id, claim: key.claim };
    return (
      this.#states.account(limit, key, nowMs) ?? {
        kind: 'quota-accounts-full',
        max: this.#states.accountsMax,
        retryDelayMs: FULL_RETRY_MS,
      }
    );
  }
}

type HoldFacts = {
  readonly limits: readonly CompiledLimit[];
  /** In the order of the limits. */
  readonly accounts: readonly Account[];
  readonly subject: QuotaSubject;
  readonly clock: () => number;
};

/** A call's room in accounts of this process. */
export class MemoryHold implements QuotaHold {
  reserved: number;
  readonly #facts: HoldFacts;
  #used = 0;

  constructor(facts: HoldFacts, reserved: number, nowMs: number) {
    this.#facts = facts;
    this.reserved = reserved;
    const { limits, accounts } = facts;
    for (let i = 0; i < limits.length; i++) {
      const limit = limits[i] as CompiledLimit;
      const account = accounts[i] as Account;
      account.begin(limit, nowMs);
      if (limit.countsTokens) account.reserved += this.reserved;
    }
  }

  use(tokens: number): QuotaShortage | null {
    if (tokens <= this.#used) return null;
    const nowMs = this.#facts.clock();
    const shortage = tokens > this.reserved ? this.#extend(tokens, nowMs) : null;
    // What the app has made counts, also where the last of it is not delivered.
    const used = Math.min(tokens, this.reserved);
    const { limits, accounts } = this.#facts;
    for (let i = 0; i < limits.length; i++) {
      const limit = limits[i] as CompiledLimit;
      if (limit.countsTokens) (accounts[i] as Account).use(limit, nowMs, used - this.#used);
    }
    this.#used = used;
    return shortage;
  }

  reserveAtMost(tokens: number): void {
    const kept = Math.max(tokens, this.#used);
    if (kept < this.reserved) this.#changeReserved(kept);
  }

  release(): void {
    if (this.reserved > this.#used) this.#changeReserved(this.#used);
    const { accounts } = this.#facts;
    for (let i = 0; i < accounts.length; i++) (accounts[i] as Account).calls -= 1;
  }

  undo(): void {
    const { limits, accounts } = this.#facts;
    this.#changeReserved(this.#used);
    for (let i = 0; i < limits.length; i++) (accounts[i] as Account).undo(limits[i] as CompiledLimit);
  }

  /** More is used than was reserved: takes the rest from what is left now. */
  #extend(tokens: number, nowMs: number): QuotaShortage | null {
    const { limits, accounts, subject } = this.#facts;
    const more = tokens - this.reserved;
    for (let i = 0; i < limits.length; i++) {
      const limit = limits[i] as CompiledLimit;
      const account = accounts[i] as Account;
      if (limit.countsTokens && account.tokensLeft(limit, nowMs) < more)
        return shortageOf(limit, subject, account.tokenLack(limit, nowMs, more), MIDWAY);
    }
    this.#changeReserved(tokens);
    return null;
  }

  #changeReserved(tokens: number): void {
    const { limits, accounts } = this.#facts;
    for (let i = 0; i < limits.length; i++)
      if ((limits[i] as CompiledLimit).countsTokens)
        (accounts[i] as Account).reserved += tokens - this.reserved;
    this.reserved = tokens;
  }
}

function shortageOf(
  limit: CompiledLimit,
  subject: QuotaSubject,
  lack: Lack,
  when: typeof MIDWAY | { readonly wantedTokens: number | null; readonly midway: false },
): QuotaShortage {
  return {
    kind: 'quota-exceeded',
    limitId: limit.id,
    ...lack,
    subject: accountName(limit, subject),
    ...when,
  };
}
