/**
 * Makes the running generations take their steps together, so that llama.cpp evaluates one token of each in one batch.
 * Left alone they drift apart: whoever is sampled last misses the next batch and then makes batches of its own, which
 * cost nearly as much as full ones. They are released by rank, the index of their sequence, because llama.cpp evaluates
 * sequences together only where their indexes follow one another.
 */
export class StepGate {
  #members = 0;
  #waiting: { readonly rank: number; readonly resolve: () => void }[] = [];

  get members(): number {
    return this.#members;
  }

  /** After joining, call `turn` without delay, and `leave` in the end: the others wait. */
  join(): void {
    this.#members += 1;
  }

  leave(): void {
    this.#members -= 1;
    this.#release();
  }

  /** Resolves when every member waits for its turn. */
  turn(rank: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ rank, resolve });
      this.#release();
    });
  }

  #release(): void {
    if (this.#waiting.length < this.#members) return;
    const released = this.#waiting.sort((a, b) => a.rank - b.rank);
    this.#waiting = [];
    for (const { resolve } of released) resolve();
  }
}
