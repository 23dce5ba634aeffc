import { hash } from 'node:crypto';
import type { CompiledLimit } from '../policy/index.ts';
import { accountKey, UnusableClaim } from './account-key.ts';
import type { ScriptRunner } from './redis-connection.ts';
import { ADMIT } from './redis-scripts.ts';
import { type HoldOwner, SharedHold, shortageOf } from './shared-hold.ts';
import type { QuotaShortage } from './shortage.ts';
import type { QuotaSubject } from './subject.ts';
import { DAY_MS, MINUTE_MS, WINDOW_BUCKETS } from './token-window.ts';

/** Of a lease's time: so often it is renewed and what it used is reported. */
const REPORTS_PER_LEASE = 10;
/** A lease that has nothing to report is renewed after this share of its time. */
const RENEWED_AFTER = 1 / 3;
/** An end that could not be reported is said again until it can be, for as many calls. */
const ENDS_KEPT_MAX = 10_000;
/** Beyond this a server takes no time to live. */
const KEPT_MS_MAX = 1e15;

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
export class SharedStore implements HoldOwner {
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
