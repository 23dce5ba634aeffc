/**
 * Makes the running generations take their steps together, so that llama.cpp evaluates one token of each in one batch.
 * Left alone they drift apart: whoever is sampled last misses the next batch and then makes batches of its own, which
 * cost nearly as much as full ones.
 */
export class StepGate {
  #members = 0;
  #waiting: (() => void)[] = [];

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
  turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#release();
    });
  }

  #release(): void {
    if (this.#waiting.length < this.#members) return;
    const released = this.#waiting;
    this.#waiting = [];
    for (const resolve of released) resolve();
  }
}
