/** First time out; it doubles with every offence. */
const SPAN_MS = 1000;
const SPAN_MS_MAX = 30_000;
/** An offender that has kept still for this long after its time is forgotten. */
const FORGET_MS = 60_000;
const OFFENDERS_MAX = 1024;

type Offence = { untilMs: number; spanMs: number };

/**
 * Peers that were cut off for a flood and may not come back at once: each connection has its own limits, and a peer
 * that simply dials again would have them anew. Known by identity and address, so that other replicas go on.
 */
export class Quarantine {
  readonly #clock: () => number;
  readonly #offences = new Map<string, Offence>();

  /** @param clock milliseconds, never going back */
  constructor(clock: () => number) {
    this.#clock = clock;
  }

  add(spiffeId: string, address: string): void {
    const key = `${spiffeId} ${address}`;
    const nowMs = this.#clock();
    const before = this.#offences.get(key);
    const isNew = before === undefined || nowMs - before.untilMs > FORGET_MS;
    const spanMs = isNew ? SPAN_MS : Math.min(SPAN_MS_MAX, before.spanMs * 2);
    this.#offences.delete(key);
    this.#offences.set(key, { untilMs: nowMs + spanMs, spanMs });
    const [oldest] = this.#offences.keys();
    if (this.#offences.size > OFFENDERS_MAX && oldest !== undefined) this.#offences.delete(oldest);
  }

  holds(spiffeId: string, address: string): boolean {
    if (this.#offences.size === 0) return false;
    const offence = this.#offences.get(`${spiffeId} ${address}`);
    return offence !== undefined && this.#clock() < offence.untilMs;
  }
}
