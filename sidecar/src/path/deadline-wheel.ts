import type { Clock } from './call.ts';

/** How much later than its time a deadline may be called. */
const TICK_MS = 10;
/** Slots of one turn; later deadlines stay in their slot for further turns. */
const SLOTS = 1024;

/** Something that ends at a time. It belongs to one wheel and stands in it at most once. */
export interface Expiring {
  /** Must not change while it stands in a wheel. */
  readonly deadlineAtMs: number;
  /** Null at first; the wheel's own from then on. */
  wheelSlot: WheelSlot | null;
  /** 0 at first; the wheel's own from then on. */
  wheelPlace: number;
  onDeadline(): void;
}

/** Deadlines in no order; each knows its place. A Set under such churn would keep garbage alive, see StreamTable. */
type WheelSlot = Expiring[];

/**
 * Deadlines of all calls on one timer (a hashed timing wheel, Varghese and Lauck 1987): adding and removing cost the
 * same however many calls there are, and a timer object for each call would cost more than relaying it. The timer
 * sleeps until the first deadline that it knew of; most calls have long ended by then, so that it wakes the process
 * hardly ever. It does not keep the process alive.
 */
export class DeadlineWheel {
  readonly #clock: Clock;
  readonly #slots: readonly WheelSlot[] = Array.from({ length: SLOTS }, () => []);
  #timer: NodeJS.Timeout | undefined;
  #wakesAtMs = Number.POSITIVE_INFINITY;
  /** The first tick that the next turn looks at. */
  #tick: number;
  #size = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#tick = Math.floor(clock() / TICK_MS);
  }

  get size(): number {
    return this.#size;
  }

  add(item: Expiring): void {
    if (item.wheelSlot !== null) return;
    const { deadlineAtMs } = item;
    const slot = this.#slots[slotIndex(deadlineAtMs)] as WheelSlot;
    // A call that waited for a token may come with a deadline that has passed, in a slot that no turn would soon see.
    this.#tick = Math.min(this.#tick, Math.floor(deadlineAtMs / TICK_MS));
    item.wheelSlot = slot;
    item.wheelPlace = slot.length;
    slot.push(item);
    this.#size += 1;
    if (deadlineAtMs < this.#wakesAtMs) this.#sleepUntil(deadlineAtMs);
  }

  remove(item: Expiring): void {
    const slot = item.wheelSlot;
    if (slot === null) return;
    const last = slot.pop() as Expiring;
    if (last !== item) {
      slot[item.wheelPlace] = last;
      last.wheelPlace = item.wheelPlace;
    }
    item.wheelSlot = null;
    this.#size -= 1;
  }

  #sleepUntil(atMs: number): void {
    clearTimeout(this.#timer);
    this.#wakesAtMs = atMs;
    const delayMs = Math.min(Math.max(1, Math.ceil(atMs - this.#clock())), SLOTS * TICK_MS);
    this.#timer = setTimeout(() => this.#turn(), delayMs);
    this.#timer.unref();
  }

  #turn(): void {
    const nowMs = this.#clock();
    const nowTick = Math.floor(nowMs / TICK_MS);
    this.#wakesAtMs = Number.POSITIVE_INFINITY;
    // After a long pause one full turn sees every slot.
    const from = Math.max(this.#tick, nowTick - SLOTS + 1);
    this.#tick = nowTick;
    for (let tick = from; tick <= nowTick; tick++)
      this.#expire(this.#slots[tick % SLOTS] as WheelSlot, nowMs);
    if (this.#size > 0) this.#sleepUntil(this.#nextMs(nowTick));
  }

  /** From the end on, because removing moves the last one into the gap: it has had its turn. */
  #expire(slot: WheelSlot, nowMs: number): void {
    for (let place = slot.length - 1; place >= 0; place--) {
      const item = slot[place];
      if (item === undefined || item.deadlineAtMs > nowMs) continue;
      this.remove(item);
      item.onDeadline();
    }
  }

  /** When the first slot is due in which something ends, at the latest after a full turn. */
  #nextMs(nowTick: number): number {
    for (let tick = this.#tick; tick < nowTick + SLOTS; tick++) {
      const dueMs = tick * TICK_MS;
      for (const item of this.#slots[tick % SLOTS] as WheelSlot) if (item.deadlineAtMs <= dueMs) return dueMs;
    }
    return (nowTick + SLOTS) * TICK_MS;
  }
}

function slotIndex(deadlineAtMs: number): number {
  return Math.ceil(deadlineAtMs / TICK_MS) % SLOTS;
}
