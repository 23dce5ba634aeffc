import { hash } from 'node:crypto';
import type { CompiledLimit } from '../policy/index.ts';
import { accountKey, accountName, UnusableClaim } from './account-key.ts';
import { type ScriptRunner, StoreDown } from './redis-connection.ts';
import { ADMIT, REPORT } from './redis-scripts.ts';
import type { QuotaNumber, QuotaShortage } from './shortage.ts';
import type { QuotaHold } from './store.ts';
import type { QuotaSubject } from './subject.ts';
import { DAY_MS, MINUTE_MS, WINDOW_BUCKETS } from './token-window.ts';

/** Of a lease's time: so often it is renewed and what it used is reported. */
const REPORTS_PER_LEASE = 10;
/** A lease that has nothing to report is renewed after this share of its time. */
const RENEWED_AFTER = 1 / 3;
/** An end that could not be reported is said again until it can be, for as many calls. */
const ENDS_KEPT_MAX = 10_000;
/** After the store had nothing more it is not asked again for as long. */
const ASK_AGAIN_MS = 250;
/** Beyond this a server takes no time to live. */
const KEPT_MS_MAX = 1e15;
/** When a call that the store kept out may come again. */
const DOWN_RETRY_MS = 1000;

export type SharedStoreOptions = {
  readonly runner: ScriptRunner;
  /** Before every key. Its braces keep them all in one slot of a cluster: a script is atomic over one slot alone. */
  readonly keyPrefix: string;
  /** How long what a call has reserved is kept when nothing is heard of its sidecar. */
  readonly leaseMs: number;
  /** Taken at once when a call runs low that does not say how much it will take. */
  readonly outputTokensStep: number;
  /** Unique among sidecars. */
  readonly instance: string;
  /** Never goes back. */
  readonly clock: () => number;
};

/** Counts in a Redis or Valkey server that sidecars share. */
export class SharedStore {
  readonly options: SharedStoreOptions;
  /** What is renewed, or whose end is still to be reported. */
  readonly #holds = new Set<SharedHold>();
  readonly #ticks: NodeJS.Timeout;
  #leases = 0;
  #endsWaiting = 0;

  constructor(options: SharedStoreOptions) {
    this.options = options;
    this.#ticks = setInterval(() => this.#tick(), options.leaseMs / REPORTS_PER_LEASE);
    this.#ticks.unref();
  }

  /** Why it can't be asked; null: it can. */
  get problem(): string | null {
    return this.options.runner.problem;
  }

  /**
   * Room in all of the limits, or in none.
   * @param wanted tokens that the call may use; null: it is not counted in tokens
   * @param bound as many tokens are all that it can use; null: that is not known
   * @throws StoreDown
   */
  async admit(
    limits: readonly CompiledLimit[],
    subject: QuotaSubject,
    { wanted, bound }: { readonly wanted: number | null; readonly bound: number | null },
  ): Promise<SharedHold | QuotaShortage> {
    const { runner, instance, leaseMs, clock } = this.options;
    const keys: string[] = [];
    for (const limit of limits) {
      const key = accountKey(limit, subject);
      if (key instanceof UnusableClaim) return { kind: 'quota-claim', limitId: limit.id, claim: key.claim };
      keys.push(...this.#keysOf(limit, key));
    }
    const lease = `${instance}-${(++this.#leases).toString(36)}`;
    const settings = limits.flatMap((limit) => settingsOf(limit, leaseMs));
    const askedAtMs = clock();
    const isCounted = wanted !== null && limits.some(({ countsTokens }) => countsTokens);
    const call = [lease, String(leaseMs), String(isCounted ? wanted : -1), '0', '0'];
    const [admitted, second, number, waitMs] = await runner.run(ADMIT, keys, [...call, ...settings]);
    if (admitted !== 1) {
      const limit = limits[Number(second) - 1] as CompiledLimit;
      return shortageOf(limit, subject, {
        number: String(number),
        waitMs: Number(waitMs),
        wantedTokens: number === 'm' || number === 'd' ? (limit.whenShort === 'shrink' ? 1 : wanted) : null,
        midway: false,
      });
    }
    const hold = new SharedHold(this, {
      limits,
      subject,
      lease,
      keys,
      settings,
      reserved: isCounted ? Number(second) : (wanted ?? 0),
      isCounted,
      bound,
      renewedAtMs: askedAtMs,
    });
    this.#holds.add(hold);
    return hold;
  }

  /** A call has ended. */
  ended(hold: SharedHold): void {
    this.#endsWaiting += 1;
    void this.#reportEnd(hold);
  }

  /** Reports what has not been reported, within the time of an answer. */
  async close(): Promise<void> {
    clearInterval(this.#ticks);
    if (this.problem === null) await Promise.all(Array.from(this.#holds, (hold) => hold.report()));
    this.options.runner.close();
  }

  async #reportEnd(hold: SharedHold): Promise<void> {
    // One that used nothing runs out by itself.
    const isDone = (await hold.report()) || !hold.hasUnreported || this.#endsWaiting > ENDS_KEPT_MAX;
    if (!isDone || !this.#holds.delete(hold)) return;
    this.#endsWaiting -= 1;
  }

  #tick(): void {
    const { clock, leaseMs } = this.options;
    const nowMs = clock();
    for (const hold of this.#holds) {
      if (hold.hasEnded) {
        if (this.problem === null) void this.#reportEnd(hold);
        continue;
      }
      // Two ticks before the end: one for this clock, one for a tick that comes late.
      if (nowMs + (2 * leaseMs) / REPORTS_PER_LEASE >= hold.renewedAtMs + leaseMs) hold.lose();
      const isDue = hold.hasUnreported || nowMs > hold.renewedAtMs + leaseMs * RENEWED_AFTER;
      if (isDue && this.problem === null) void hold.report();
    }
  }

  /** Nothing of who calls is to be read in the store. */
  #keysOf({ id, per }: CompiledLimit, key: string): string[] {
    const name = hash('sha256', JSON.stringify([id, per, key]), 'base64url').slice(0, 22);
    const account = `{${this.options.keyPrefix}}:${name}`;
    return [account, `${account}:leases`, `${account}:reserved`];
  }
}

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
  readonly #store: SharedStore;
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

  constructor(store: SharedStore, facts: SharedFacts) {
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

function shortageOf(limit: CompiledLimit, subject: QuotaSubject, facts: ShortFacts): QuotaShortage {
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

/** Seven numbers for the scripts. */
function settingsOf(limit: CompiledLimit, leaseMs: number): string[] {
  const { requests, concurrentCallsMax, tokensPerMinuteMax, tokensPerDayMax, whenShort } = limit;
  const intervalMs = requests === null ? -1 : 1000 / requests.perSecond;
  const toleranceMs = requests === null ? 0 : (requests.burst - 1) * intervalMs;
  const windowMs = tokensPerDayMax !== null ? DAY_MS : tokensPerMinuteMax !== null ? MINUTE_MS : 0;
  // Nothing of an account counts any more when its keys go.
  const keptMs = windowMs * (1 + 2 / WINDOW_BUCKETS) + 2 * leaseMs + toleranceMs + Math.max(0, intervalMs);
  return [
    intervalMs,
    toleranceMs,
    concurrentCallsMax ?? -1,
    tokensPerMinuteMax ?? -1,
    tokensPerDayMax ?? -1,
    whenShort === 'shrink' ? 1 : 0,
    Math.ceil(Math.min(keptMs, KEPT_MS_MAX)),
  ].map(String);
}
