/**
 * The field lists of header blocks that come byte for byte the same, again and again: as most responses and their
 * trailers do. A block that only refers to entries of the table means the same list until the table changes; to find
 * that list costs a tenth of decoding the block and checking its fields' sizes anew.
 */
import type { Field } from './field.ts';

/** Longer blocks are decoded each time: a reference takes a byte or two. */
const BLOCK_BYTES_MAX = 32;
/** Lists kept for a connection, from 1, a power of two. */
const LISTS_MAX = 8;

class Repeated {
  readonly hash: number;
  readonly tableVersion: number;
  readonly bytes: Uint8Array;
  readonly fields: readonly Field[];

  constructor(hash: number, tableVersion: number, bytes: Uint8Array, fields: readonly Field[]) {
    this.hash = hash;
    this.tableVersion = tableVersion;
    this.bytes = bytes;
    this.fields = fields;
  }
}

export class RepeatedBlocks {
  private lists: (Repeated | null)[] | null = null;

  /** The list of the block `bytes[start, end)` under the table as it is, or null when it is not known. */
  find(bytes: Buffer, start: number, end: number, tableVersion: number): readonly Field[] | null {
    const length = end - start;
    if (this.lists === null || length > BLOCK_BYTES_MAX) return null;
    const hash = blockHash(bytes, start, end);
    const known = this.lists[hash & (LISTS_MAX - 1)] as Repeated | null;
    if (known === null || known.hash !== hash || known.tableVersion !== tableVersion) return null;
    const raw = known.bytes;
    if (raw.length !== length) return null;
    for (let i = 0; i < length; i++) if (raw[i] !== bytes[start + i]) return null;
    return known.fields;
  }

  /** Keeps the list of a block that holds nothing but references. */
  keep(bytes: Buffer, start: number, end: number, tableVersion: number, fields: readonly Field[]): void {
    if (end - start > BLOCK_BYTES_MAX) return;
    this.lists ??= Array.from<Repeated | null>({ length: LISTS_MAX }).fill(null);
    const hash = blockHash(bytes, start, end);
    const raw = Uint8Array.prototype.slice.call(bytes, start, end);
    this.lists[hash & (LISTS_MAX - 1)] = new Repeated(hash, tableVersion, raw, fields);
  }
}

/** FNV-1a. */
function blockHash(bytes: Buffer, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
  return hash;
}
