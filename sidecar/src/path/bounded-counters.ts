/** How the calls of one group ended. */
export type OutcomeCounts = { answered: number; refused: number; failed: number };

export const OTHER = '_OTHER';

/**
 * Outcomes by a name that callers bring, such as their identity: the first names have counts of their own, and all others
 * share one, so that no caller can make metrics grow.
 */
export class BoundedCounters {
  readonly namesMax: number;
  readonly #byName = new Map<string, OutcomeCounts>();

  constructor(namesMax: number) {
    this.namesMax = namesMax;
  }

  of(name: string): OutcomeCounts {
    return this.#byName.get(name) ?? this.#begin(name);
  }

  [Symbol.iterator](): IterableIterator<readonly [string, Readonly<OutcomeCounts>]> {
    return this.#byName.entries();
  }

  #begin(name: string): OutcomeCounts {
    if (this.#byName.size >= this.namesMax && name !== OTHER) return this.of(OTHER);
    const counts = { answered: 0, refused: 0, failed: 0 };
    this.#byName.set(name, counts);
    return counts;
  }
}
