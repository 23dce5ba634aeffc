/** What policy in shadow would have decided otherwise, by whose call of what. */
export type ShadowSeries = {
  readonly identity: string;
  readonly method: string;
  readonly would: 'allow' | 'deny';
  readonly total: number;
};

const OTHER = '_OTHER';

/**
 * Counts differences by identity and method: the first have counts of their own, and all others share one a method, so that
 * no caller can make metrics grow.
 */
export class ShadowCounts {
  readonly #callersMax: number;
  /** By identity, then by what would have been decided and the method. */
  readonly #counts = new Map<string, Map<string, number>>();

  /** @param callersMax identities with counts of their own */
  constructor(callersMax = 256) {
    this.#callersMax = callersMax;
  }

  /** @param method of the contract, so that their number is bounded */
  add(identity: string, method: string, would: 'allow' | 'deny'): void {
    const counts = this.#of(identity);
    const key = `${would} ${method}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }

  *series(): Iterable<ShadowSeries> {
    for (const [identity, counts] of this.#counts) {
      for (const [key, total] of counts) {
        const [would, method = ''] = key.split(' ') as ['allow' | 'deny', string?];
        yield { identity, method, would, total };
      }
    }
  }

  #of(identity: string): Map<string, number> {
    const known = this.#counts.get(identity);
    if (known !== undefined) return known;
    if (this.#counts.size >= this.#callersMax && identity !== OTHER) return this.#of(OTHER);
    const counts = new Map<string, number>();
    this.#counts.set(identity, counts);
    return counts;
  }
}
