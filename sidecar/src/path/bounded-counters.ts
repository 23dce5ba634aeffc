export const OTHER = '_OTHER';

/**
 * Counts by a name that callers bring, such as their identity: the first names have counts of their own, and all others
 * share one, so that no caller can make metrics grow.
 */
export class BoundedCounters<Counts> {
  readonly namesMax: number;
  readonly #create: () => Counts;
  readonly #byName = new Map<string, Counts>();

  /** @param create counts at nought */
  constructor(namesMax: number, create: () => Counts) {
    this.namesMax = namesMax;
    this.#create = create;
  }

  of(name: string): Counts {
    return this.#byName.get(name) ?? this.#begin(name);
  }

  [Symbol.iterator](): IterableIterator<readonly [string, Counts]> {
    return this.#byName.entries();
  }

  #begin(name: string): Counts {
    if (this.#byName.size >= this.namesMax && name !== OTHER) return this.of(OTHER);
    const counts = this.#create();
    this.#byName.set(name, counts);
    return counts;
  }
}
