/** The dynamic table of HPACK (RFC 7541 §2.3.2, §4): newest first, evicting from the other end. */
import { type Field, STATIC_FIELDS } from './field.ts';

let tables = 0;

export class HpackTable {
  /** Of this process, from 1. */
  readonly id: number = ++tables;
  /** Size of the entries as RFC 7541 §4.1 counts it. */
  size = 0;
  /** Entries held. */
  count = 0;
  /** Entries ever inserted; the newest one has this number, and an entry keeps its number. */
  inserted = 0;
  /** While it stays the same, every index means the same field. */
  version = 0;
  sizeMax: number;
  private readonly ring: (Field | null)[];
  private readonly mask: number;

  /** @param sizeLimit the largest `sizeMax` this table will ever be given, in bytes */
  constructor(sizeMax: number, sizeLimit: number) {
    this.sizeMax = sizeMax;
    let capacity = 8;
    while (capacity * 32 < sizeLimit) capacity *= 2;
    this.ring = Array.from<Field | null>({ length: capacity }).fill(null);
    this.mask = capacity - 1;
  }

  /** The field at an index of the joint address space (RFC 7541 §2.3.3), or null when there is none. */
  at(index: number): Field | null {
    const statics = STATIC_FIELDS.length;
    if (index <= statics) return index === 0 ? null : (STATIC_FIELDS[index - 1] as Field);
    const back = index - statics - 1;
    return back < this.count ? (this.ring[(this.inserted - back) & this.mask] as Field) : null;
  }

  /** Index of the entry with an insertion number, or 0 when it has been evicted. */
  indexOf(number: number): number {
    const back = this.inserted - number;
    return back < this.count ? STATIC_FIELDS.length + 1 + back : 0;
  }

  /** Adds an entry and evicts as many as needed; one larger than the table empties it (RFC 7541 §4.4). */
  insert(field: Field): void {
    this.version++;
    const room = this.sizeMax - field.size;
    while (this.count > 0 && this.size > room) this.evict();
    if (room < 0) return;
    this.inserted++;
    this.ring[this.inserted & this.mask] = field;
    this.count++;
    this.size += field.size;
  }

  resize(sizeMax: number): void {
    this.version++;
    this.sizeMax = sizeMax;
    while (this.size > sizeMax) this.evict();
  }

  private evict(): void {
    const slot = (this.inserted - this.count + 1) & this.mask;
    this.size -= (this.ring[slot] as Field).size;
    this.ring[slot] = null;
    this.count--;
  }
}
