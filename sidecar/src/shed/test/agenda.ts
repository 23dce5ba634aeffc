type Happening = { readonly atMs: number; readonly what: () => void };

/** Simulated time: what is to happen, in order (a binary heap). */
export class Agenda {
  nowMs = 0;
  readonly #heap: Happening[] = [];

  after(delayMs: number, what: () => void): void {
    const heap = this.#heap;
    const happening = { atMs: this.nowMs + delayMs, what };
    let place = heap.push(happening) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = heap[parent] as Happening;
      if (above.atMs <= happening.atMs) break;
      heap[place] = above;
      place = parent;
    }
    heap[place] = happening;
  }

  runUntil(endMs: number): void {
    while ((this.#heap[0]?.atMs ?? Number.POSITIVE_INFINITY) <= endMs) {
      const { atMs, what } = this.#takeFirst();
      this.nowMs = atMs;
      what();
    }
    this.nowMs = endMs;
  }

  #takeFirst(): Happening {
    const heap = this.#heap;
    const first = heap[0] as Happening;
    const last = heap.pop() as Happening;
    if (heap.length === 0) return first;
    let place = 0;
    for (;;) {
      const left = place * 2 + 1;
      const right = left + 1;
      if (left >= heap.length) break;
      const child =
        right < heap.length && (heap[right] as Happening).atMs < (heap[left] as Happening).atMs
          ? right
          : left;
      if ((heap[child] as Happening).atMs >= last.atMs) break;
      heap[place] = heap[child] as Happening;
      place = child;
    }
    heap[place] = last;
    return first;
  }
}
