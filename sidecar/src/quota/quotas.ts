import type { CompiledLimit } from '../policy/index.ts';
import { type Demand, Lease } from './lease.ts';
import { LimitStates } from './limit-states.ts';
import { MemoryStore } from './memory-store.ts';
import { StoreDown } from './redis-connection.ts';
import type { SharedHold } from './shared-hold.ts';
import type { SharedStore } from './shared-store.ts';
import type { QuotaShortage } from './shortage.ts';
import { type QuotaLease, type QuotaSubject, UNLIMITED } from './subject.ts';

/** A method may ask for any number; nothing beyond this is counted exactly. */
const TOKENS_MAX = 1e15;
/** When a call that can't be counted may come again. */
const DOWN_RETRY_MS = 1000;

/** What metrics say of one limit. */
export type QuotaView = {
  readonly limitId: string;
  readonly admitted: number;
  readonly shrunk: number;
  readonly endedMidway: number;
  readonly tokensUsed: number;
  readonly countedLocally: number;
  /** By what was short: a number of the limit, `store` or `claim`. */
  readonly refused: ReadonlyMap<string, number>;
  /** Accounts in this process. */
  readonly accounts: number;
  /** Of the account in this process that has used most of its limit. */
  readonly useRatioMax: number;
};

type Options = {
  readonly clock: () => number;
  /** Accounts kept in memory, of all limits together. */
  readonly accountsMax: number;
  /** Reserved for the output of a call that does not say how much it will take. */
  readonly outputTokensDefault: number;
  /** Where limits are counted that replicas share; null: nowhere, and they are treated as when it is down. */
  readonly shared: SharedStore | null;
};

/** Admits calls by the limits that concern them. */
export class Quotas {
  readonly #states: LimitStates;
  readonly #memory: MemoryStore;
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
    this.#states = new LimitStates(options.accountsMax);
    this.#memory = new MemoryStore(this.#states, options.clock);
  }

  /** Room in every limit that concerns the call, or in none. A promise where the shared store has to be asked. */
  admit(subject: QuotaSubject): QuotaLease | QuotaShortage | Promise<QuotaLease | QuotaShortage> {
    const limits = concerning(subject);
    if (limits.length === 0) return UNLIMITED;
    const demand = this.#demandOf(subject, limits);
    return hasShared(limits) ? this.#admitShared(demand) : this.#admitHere(demand);
  }

  /** Whether there is a store for limits that are shared. */
  get hasStore(): boolean {
    return this.#options.shared !== null;
  }

  /** Why limits that are shared can't be counted together at the moment; null: they can, or there is no store. */
  get storeProblem(): string | null {
    return this.#options.shared?.problem ?? null;
  }

  *views(): Iterable<QuotaView> {
    const nowMs = this.#options.clock();
    for (const state of this.#states.all()) {
      let useRatioMax = 0;
      for (const account of state.accounts.values())
        useRatioMax = Math.max(useRatioMax, account.useRatio(state.limit, nowMs));
      const { id, admitted, shrunk, endedMidway, tokensUsed, countedLocally, refused, accounts } = state;
      yield {
        limitId: id,
        admitted,
        shrunk,
        endedMidway,
        tokensUsed,
        countedLocally,
        refused,
        accounts: accounts.size,
        useRatioMax,
      };
    }
  }

  /** Once all calls have ended. */
  async close(): Promise<void> {
    await this.#options.shared?.close();
  }

  #demandOf(subject: QuotaSubject, limits: readonly CompiledLimit[]): Demand {
    const { tokens } = subject;
    if (tokens === null || !countTokens(limits))
      return { subject, limits, wanted: null, bound: null, outputReserved: 0 };
    const { inputBound, outputLimit } = tokens;
    const isSaid = outputLimit !== null && outputLimit >= 0;
    const output = isSaid ? Math.min(outputLimit, TOKENS_MAX) : this.#options.outputTokensDefault;
    const wanted = inputBound + output;
    return { subject, limits, wanted, bound: isSaid ? wanted : null, outputReserved: output };
  }

  #admitHere(demand: Demand): QuotaLease | QuotaShortage {
    const { subject, limits, wanted } = demand;
    const hold = this.#memory.admit(limits, subject, wanted);
    if ('kind' in hold) return this.#refused(limits, hold);
    this.#countAdmitted(limits, wanted !== null && hold.reserved < wanted);
    return new Lease(demand, this.#states, hold, null);
  }

  async #admitShared(demand: Demand): Promise<QuotaLease | QuotaShortage> {
    const { subject, limits, wanted } = demand;
    const { shared } = this.#options;
    if (shared === null || shared.problem !== null) return this.#admitWithoutStore(demand);
    const own = limits.filter((limit) => !isShared(limit));
    const here = own.length === 0 ? null : this.#memory.admit(own, subject, wanted);
    if (here !== null && 'kind' in here) return this.#refused(limits, here);
    const there = await this.#ask(shared, demand, here === null || wanted === null ? wanted : here.reserved);
    if (there === null || 'kind' in there) {
      here?.undo();
      return there === null ? this.#admitWithoutStore(demand) : this.#refused(limits, there);
    }
    if (wanted !== null) here?.reserveAtMost(there.reserved);
    this.#countAdmitted(limits, wanted !== null && there.reserved < wanted);
    return here === null
      ? new Lease(demand, this.#states, there, null)
      : new Lease(demand, this.#states, here, there);
  }

  /** Null: the store did not answer. */
  async #ask(
    shared: SharedStore,
    { subject, limits, bound }: Demand,
    wanted: number | null,
  ): Promise<SharedHold | QuotaShortage | null> {
    try {
      return await shared.admit(limits.filter(isShared), subject, { wanted, bound });
    } catch (error) {
      if (error instanceof StoreDown) return null;
      throw error;
    }
  }

  /** The sidecar counts by itself, if all limits that are shared allow that. */
  #admitWithoutStore(demand: Demand): QuotaLease | QuotaShortage {
    const { limits } = demand;
    const shared = limits.filter(isShared);
    const refusing = shared.find(({ onStoreFailure }) => onStoreFailure === 'refuse');
    if (refusing !== undefined)
      return this.#refused(limits, {
        kind: 'quota-store-down',
        limitId: refusing.id,
        retryDelayMs: DOWN_RETRY_MS,
      });
    for (const limit of shared) this.#states.of(limit).countedLocally += 1;
    return this.#admitHere(demand);
  }

  #countAdmitted(limits: readonly CompiledLimit[], isShrunk: boolean): void {
    for (let i = 0; i < limits.length; i++) {
      const state = this.#states.of(limits[i] as CompiledLimit);
      state.admitted += 1;
      if (isShrunk) state.shrunk += 1;
    }
  }

  #refused(limits: readonly CompiledLimit[], shortage: QuotaShortage): QuotaShortage {
    if (shortage.kind === 'quota-accounts-full') return shortage;
    const limit = limits.find(({ id }) => id === shortage.limitId);
    if (limit !== undefined) this.#states.of(limit).countRefused(reasonOf(shortage));
    return shortage;
  }
}

/** The limits that concern the call's model. */
function concerning({ limits, model }: QuotaSubject): readonly CompiledLimit[] {
  for (let i = 0; i < limits.length; i++)
    if (!(limits[i] as CompiledLimit).match.hasModel(model))
      return limits.filter(({ match }) => match.hasModel(model));
  return limits;
}

// Loops instead of closures: these run for every call.
function hasShared(limits: readonly CompiledLimit[]): boolean {
  for (let i = 0; i < limits.length; i++) if ((limits[i] as CompiledLimit).store === 'shared') return true;
  return false;
}

function countTokens(limits: readonly CompiledLimit[]): boolean {
  for (let i = 0; i < limits.length; i++) if ((limits[i] as CompiledLimit).countsTokens) return true;
  return false;
}

function isShared(limit: CompiledLimit): boolean {
  return limit.store === 'shared';
}

function reasonOf(shortage: Exclude<QuotaShortage, { kind: 'quota-accounts-full' }>): string {
  if (shortage.kind === 'quota-exceeded') return shortage.number;
  return shortage.kind === 'quota-claim' ? 'claim' : 'store';
}
