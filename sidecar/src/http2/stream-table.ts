/**
 * The open streams of a connection by id: open addressing with linear probing. A Map would do, but one into which
 * entries go as fast as others leave it rebuilds itself again and again, and each outgrown table refers to the next;
 * once one of them is in the old generation, everything that came after it lives until a full collection.
 */
import type { Stream } from './stream.ts';

const CAPACITY_SMALLEST = 16;
const EMPTY = 0;
/** 2^32 divided by the golden ratio (Knuth, vol. 3, 6.4). */
const SCATTER = 0x9e37_79b1;

export class StreamTable {
  /** Streams held. */
  size = 0;
  private ids = new Int32Array(CAPACITY_SMALLEST);
  private streams: (Stream | undefined)[] = emptySlots(CAPACITY_SMALLEST);
  private mask = CAPACITY_SMALLEST - 1;

  get(streamId: number): Stream | undefined {
    const { ids, mask } = this;
    let slot = this.slotOf(streamId);
    let id = ids[slot] as number;
    while (id !== streamId) {
      if (id === EMPTY) return undefined;
      slot = (slot + 1) & mask;
      id = ids[slot] as number;
    }
    return this.streams[slot];
  }

  /** Adds a stream whose id the table does not hold. */
  add(stream: Stream): void {
    if (2 * (this.size + 1) > this.ids.length) this.grow();
    this.size++;
    this.place(stream);
  }

  delete(streamId: number): void {
    const { ids, streams, mask } = this;
    let hole = this.slotOf(streamId);
    while (ids[hole] !== streamId) {
      if (ids[hole] === EMPTY) return;
      hole = (hole + 1) & mask;
    }
    this.size--;
    // Whatever stands behind the hole only because its own slot was taken moves up, so that no search ends too soon.
    for (let slot = (hole + 1) & mask; ids[slot] !== EMPTY; slot = (slot + 1) & mask) {
      const wanted = this.slotOf(ids[slot] as number);
      if (((slot - wanted) & mask) < ((slot - hole) & mask)) continue;
      ids[hole] = ids[slot] as number;
      streams[hole] = streams[slot];
      hole = slot;
    }
    ids[hole] = EMPTY;
    streams[hole] = undefined;
  }

  /**
   * The streams of this moment in the order of their ids, those left out that close before their turn; streams may open
   * and close meanwhile.
   */
  *values(): Generator<Stream> {
    if (this.size === 0) return;
    const streams = this.streams.filter((stream) => stream !== undefined);
    streams.sort((a, b) => a.id - b.id);
    for (const stream of streams) if (!stream.closed) yield stream;
  }

  /** Scatters the ids, which come in a row: in a row of slots deleting would have to look at all that follow. */
  private slotOf(streamId: number): number {
    return (Math.imul(streamId, SCATTER) >>> 8) & this.mask;
  }

  private place(stream: Stream): void {
    const { ids, mask } = this;
    let slot = this.slotOf(stream.id);
    while (ids[slot] !== EMPTY) slot = (slot + 1) & mask;
    ids[slot] = stream.id;
    this.streams[slot] = stream;
  }

  private grow(): void {
    const held = this.streams;
    const capacity = held.length * 2;
    this.ids = new Int32Array(capacity);
    this.streams = emptySlots(capacity);
    this.mask = capacity - 1;
    for (const stream of held) if (stream !== undefined) this.place(stream);
  }
}

function emptySlots(count: number): (Stream | undefined)[] {
  return Array.from<Stream | undefined>({ length: count }).fill(undefined);
}
