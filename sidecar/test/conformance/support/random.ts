/** Random numbers that a seed repeats (mulberry32). */
export class Random {
  private state: number;

  /** @param seed a whole number from 0 to 2^32-1 */
  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** A whole number from 0 to `bound - 1`. */
  below(bound: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }
}

/** A seed for a run that is not asked to repeat another. */
export function freshSeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}
