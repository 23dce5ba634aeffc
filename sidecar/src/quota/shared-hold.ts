import type { CompiledLimit } from '../policy/index.ts';
import { accountName } from './account-key.ts';
import { type ScriptRunner, StoreDown } from './redis-connection.ts';
import { REPORT } from './redis-scripts.ts';
import type { QuotaNumber, QuotaShortage } from './shortage.ts';
import type { QuotaHold } from './store.ts';
import type { QuotaSubject } from './subject.ts';

/** After the store had nothing more it is not asked again for as long. */
const ASK_AGAIN_MS = 250;
/** When a call that the store kept out may come again. */
const DOWN_RETRY_MS = 1000;

/** What holds know of the store that they are in. */
export type HoldOwner = {
  readonly options: {
    readonly runner: ScriptRunner;
    readonly leaseMs: number;
    readonly outputTokensStep: number;
    readonly clock: () => number;
  };
  /** The hold's call has ended. */
  ended(hold: SharedHold): void;
};

type SharedFacts = {
  readonly limits: readonly CompiledLimit[];
  readonly subject: QuotaSubject;
  readonly lease: string;
  readonly keys: readonly string[];
  readonly settings: readonly string[];
  readonly reserved: number;
  /** Whether any of the limits counts the call's tokens. */
  readonly isCounted: boolean;
  readonly bound: number | null;
  readonly renewedAtMs: number;
};

type ShortFacts = {
  readonly number: string;
  readonly waitMs: number;
  readonly wantedTokens: number | null;
  readonly midway: boolean;
};
const MIDWAY = { wantedTokens: null, midway: true };

/** A call's room in accounts of the shared store. */
export class SharedHold implements QuotaHold {
  reserved: number;
  /** When the store was last asked with success: the lease lasts from then at least. */
  renewedAtMs: number;
  hasEnded = false;
  readonly #store: HoldOwner;
  readonly #facts: SharedFacts;
  readonly #isCounted: boolean;
  #bound: number | null;
  #used = 0;
  /** Of `used`, what the store knows. */
  #reported = 0;
  #reporting: Promise<boolean> | null = null;
  #askAgainAtMs = 0;
  #short: { readonly limit: CompiledLimit; readonly facts: ShortFacts } | null = null;
  #reservedReported: number;
  #isLost = false;

  constructor(store: HoldOwner, facts: SharedFacts) {
    this.#store = store;
    this.#facts = facts;
    this.#isCounted = facts.isCounted;
    this.#bound = facts.bound;
    this.reserved = facts.reserved;
    this.#reservedReported = this.reserved;
    this.renewedAtMs = facts.renewedAtMs;
  }

  get hasUnreported(): boolean {
    return this.#used > this.#reported || this.reserved < this.#reservedReported;
  }

  use(tokens: number): QuotaShortage | null {
    if (!this.#isCounted || tokens <= this.#used) return null;
    const lost = this.#lostTo();
    if (lost !== null) return lost;
    if (tokens > this.reserved) {
      this.#used = this.reserved;
      return this.#shortage();
    }
    this.#used = tokens;
    if (this.#runsLow()) void this.report();
    return null;
  }

  /** The store hears of it with the next report. */
  reserveAtMost(tokens: number): void {
    if (this.#bound !== null) this.#bound = Math.min(this.#bound, tokens);
    this.reserved = Math.max(this.#used, Math.min(this.reserved, tokens));
  }

  release(): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.#store.ended(this);
  }

  /** The lease is about to run out, and others may be given what it has: where that may not be, the call ends. */
  lose(): void {
    const { limits, subject } = this.#facts;
    const refusing = limits.find(({ onStoreFailure }) => onStoreFailure === 'refuse');
    if (refusing === undefined || this.#isLost) return;
    this.#isLost = true;
    subject.onLost(storeDown(refusing));
  }

  /** Tells the store how far the call is. @returns whether it knows now */
  async report(): Promise<boolean> {
    // What was asked first is answered first, and an end is the last word.
    while (this.#reporting !== null) await this.#reporting;
    this.#reporting = this.#tell();
    try {
      return await this.#reporting;
    } finally {
      this.#reporting = null;
    }
  }

  async #tell(): Promise<boolean> {
    const { runner, leaseMs, clock, outputTokensStep } = this.#store.options;
    const { lease, keys, settings, limits } = this.#facts;
    const askedAtMs = clock();
    const used = this.#used;
    const ended = this.hasEnded;
    const wanted = Math.max(used, this.#bound ?? used + outputTokensStep);
    const call = [lease, ended ? 0 : leaseMs, used, this.#isCounted ? wanted : -1, this.#reported].map(
      String,
    );
    try {
      const [granted, short, number, waitMs] = await runner.run(REPORT, keys, [...call, ...settings]);
      this.renewedAtMs = askedAtMs;
      this.#reported = used;
      if (!this.#isCounted || ended) return true;
      // What was used in the meantime was reserved when it was.
      this.reserved = Math.max(this.#used, Number(granted));
      this.#reservedReported = this.reserved;
      const limit = limits[Number(short) - 1];
      this.#short =
        limit === undefined
          ? null
          : { limit, facts: { number: String(number), waitMs: Number(waitMs), ...MIDWAY } };
      if (limit !== undefined) this.#askAgainAtMs = askedAtMs + ASK_AGAIN_MS;
      return true;
    } catch (error) {
      if (error instanceof StoreDown) return false;
      throw error;
    }
  }

  /** Asks for more before what there is has been used, so that no message waits for the store. */
  #runsLow(): boolean {
    const { outputTokensStep, clock } = this.#store.options;
    if (this.#reporting !== null || this.reserved - this.#used > outputTokensStep / 2) return false;
    return (this.#bound === null || this.#bound > this.reserved) && clock() >= this.#askAgainAtMs;
  }

  /** A process that stood still for as long as a lease lasts has lost it before it could notice. */
  #lostTo(): QuotaShortage | null {
    const { clock, leaseMs } = this.#store.options;
    if (clock() < this.renewedAtMs + leaseMs) return null;
    const refusing = this.#facts.limits.find(({ onStoreFailure }) => onStoreFailure === 'refuse');
    return refusing === undefined ? null : storeDown(refusing);
  }

  #shortage(): QuotaShortage {
    const { limits, subject } = this.#facts;
    const counting = limits.find(({ countsTokens }) => countsTokens) as CompiledLimit;
    const number = counting.tokensPerMinuteMax === null ? 'd' : 'm';
    const { limit, facts } = this.#short ?? { limit: counting, facts: { number, waitMs: -1, ...MIDWAY } };
    return shortageOf(limit, subject, facts);
  }
}

function storeDown(limit: CompiledLimit): QuotaShortage {
  return { kind: 'quota-store-down', limitId: limit.id, retryDelayMs: DOWN_RETRY_MS };
}

const NUMBERS: Readonly<Record<string, QuotaNumber>> = {
  r: 'requests-per-second',
  c: 'concurrent-calls',
  m: 'tokens-per-minute',
  d: 'tokens-per-day',
};

/** What a script says is short. */
export function shortageOf(limit: CompiledLimit, subject: QuotaSubject, facts: ShortFacts): QuotaShortage {
  const number = NUMBERS[facts.number] ?? 'requests-per-second';
  return {
    kind: 'quota-exceeded',
    limitId: limit.id,
    number,
    max: maxOf(limit, number),
    subject: accountName(limit, subject),
    wantedTokens: facts.wantedTokens,
    retryDelayMs: facts.waitMs < 0 ? null : facts.waitMs,
    midway: facts.midway,
  };
}

function maxOf(limit: CompiledLimit, number: QuotaNumber): number {
  switch (number) {
    case 'requests-per-second':
      return limit.requests?.perSecond ?? 0;
    case 'concurrent-calls':
      return limit.concurrentCallsMax ?? 0;
    case 'tokens-per-minute':
      return limit.tokensPerMinuteMax ?? 0;
    case 'tokens-per-day':
      return limit.tokensPerDayMax ?? 0;
  }
}
