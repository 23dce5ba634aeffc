interface Entry<T> {
  readonly item: T;
  readonly cost: number;
  /** When the item's turn comes, in cost served so far. */
  readonly rank: number;
}

/**
 * A queue that serves its callers by turns of equal cost instead of in order of arrival (start-time fair queueing):
 * one text of one caller does not wait for the two thousand of another. No caller can be starved, because the
 * virtual time that newcomers begin at moves on with every item served. The queue has no limit of its own.
 */
export class FairQueue<T> {
  readonly #costOf: (item: T) => number;
  #entries: Entry<T>[] = [];
  #virtualTime = 0;
  #cost = 0;

  constructor(costOf: (item: T) => number) {
    this.#costOf = costOf;
  }

  get length(): number {
    return this.#entries.length;
  }

  /** Of all items that wait. */
  get cost(): number {
    return this.#cost;
  }

  /** Adds one caller's items. */
  add(items: readonly T[]): void {
    let rank = this.#virtualTime;
    for (const item of items) {
      const cost = this.#costOf(item);
      rank += cost;
      this.#cost += cost;
      this.#entries.push({ item, cost, rank });
    }
    this.#entries.sort((a, b) => a.rank - b.rank);
  }

  /** The next items in their order, at most `count`; they stay in the queue. */
  next(count: number): T[] {
    return this.#entries.slice(0, count).map(({ item }) => item);
  }

  /** Takes out items that are served now. */
  serve(items: ReadonlySet<T>): void {
    const head = this.#entries[0];
    if (head !== undefined) this.#virtualTime = head.rank;
    this.drop(items);
  }

  /** Takes out items that nobody wants any more. */
  drop(items: ReadonlySet<T>): void {
    this.#entries = this.#entries.filter(({ item }) => !items.has(item));
    this.#cost = this.#entries.reduce((sum, { cost }) => sum + cost, 0);
  }
}
