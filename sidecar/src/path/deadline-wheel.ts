import type { Clock } from './call.ts';

/** How much later than its time a deadline may be called. */
const TICK_MS = 10;
/** Slots of one turn; later deadlines stay in their slot for further turns. */
const SLOTS = 1024;

/** Something that ends at a time. It belongs to one wheel and stands in it at most once. */
export interface Expiring {
  readonly deadlineAtMs: number;
  onDeadline(): void;
}

/**
 * Deadlines of all calls on one timer (a hashed timing wheel, Varghese and Lauck 1987): adding and removing cost the
 * same however many calls there are, and a timer object for each call would cost more than relaying it. The timer
 * runs only while a deadline is waited for and does not keep the process alive.
 */
export class DeadlineWheel {
  readonly #clock: Clock;
  readonly #slots: Set<Expiring>[] = Array.from({ length: SLOTS }, () => new Set());
  #timer: NodeJS.Timeout | null = null;
  /** The first tick that the next turn looks at. */
  #tick = 0;
  #size = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#size;
  }

  add(item: Expiring): void {
    if (this.#timer === null) {
      this.#tick = Math.floor(this.#clock() / TICK_MS);
      this.#timer = setInterval(() => this.#turn(), TICK_MS);
      this.#timer.unref();
    }
    const slot = this.#slotOf(item);
    if (slot.has(item)) return;
    // A call that waited for a token may come with a deadline that has passed, in a slot that no turn would soon see.
    this.#tick = Math.min(this.#tick, Math.floor(item.deadlineAtMs / TICK_MS));
    slot.add(item);
    this.#size += 1;
  }

  remove(item: Expiring): void {
    if (!this.#slotOf(item).delete(item)) return;
    this.#size -= 1;
    this.#stopWhenEmpty();
  }

  #slotOf(item: Expiring): Set<Expiring> {
    return this.#slots[Math.ceil(item.deadlineAtMs / TICK_MS) % SLOTS] as Set<Expiring>;
  }

  #turn(): void {
    const nowMs = this.#clock();
    const nowTick = Math.floor(nowMs / TICK_MS);
    // After a long pause one full turn sees every slot.
    const from = Math.max(this.#tick, nowTick - SLOTS + 1);
    this.#tick = nowTick;
    for (let tick = from; tick <= nowTick; tick++) {
      for (const item of this.#slots[tick % SLOTS] as Set<Expiring>) {
        if (item.deadlineAtMs > nowMs) continue;
        this.remove(item);
        item.onDeadline();
      }
    }
    this.#stopWhenEmpty();
  }

  #stopWhenEmpty(): void {
    if (this.#size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }
}
