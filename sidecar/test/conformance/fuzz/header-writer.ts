import type { Random } from '../support/random.ts';

export type Pair = readonly [name: string, value: string];

/** Strings in Huffman code, from the examples of RFC 7541 Appendix C. */
const HUFFMAN = new Map([
  ['www.example.com', 'f1e3c2e5f23a6ba0ab90f4ff'],
  ['no-cache', 'a8eb10649cbf'],
  ['custom-key', '25a849e95ba97d7f'],
  ['custom-value', '25a849e95bb8e8b4bf'],
]);
const STATIC_ENTRIES = 61;
/** Rows of the static table that requests and responses use. */
const STATIC_ROWS = new Map([
  [':method GET', 2],
  [':method POST', 3],
  [':path /', 4],
  [':scheme http', 6],
  [':scheme https', 7],
  [':status 200', 8],
  [':status 204', 9],
  [':status 304', 11],
  [':status 404', 13],
]);
const TABLE_BYTES = 4_096;

/** Writes header blocks in every legal way, at random, and keeps the dynamic table that they lead to. */
export class HeaderWriter {
  private readonly random: Random;
  private readonly table: Pair[] = [];
  private tableBytesMax = TABLE_BYTES;

  constructor(random: Random) {
    this.random = random;
  }

  block(fields: readonly Pair[]): Buffer {
    const parts = this.random.oneIn(12) ? [this.sizeUpdate()] : [];
    return Buffer.concat([...parts, ...fields.map((pair) => this.field(pair))]);
  }

  /** A reference to the entry behind the last one: one that was evicted, if any was. */
  missingEntry(): Buffer {
    return integer(0x80, 0x7f, STATIC_ENTRIES + 1 + this.table.length);
  }

  private sizeUpdate(): Buffer {
    // Small ones often, so that entries are evicted.
    this.tableBytesMax = this.random.below(this.random.oneIn(2) ? 400 : TABLE_BYTES + 1);
    this.evict();
    return integer(0x20, 0x1f, this.tableBytesMax);
  }

  private field(pair: Pair): Buffer {
    const [name, value] = pair;
    const row = STATIC_ROWS.get(`${name} ${value}`);
    if (row !== undefined && !this.random.oneIn(8)) return integer(0x80, 0x7f, row);
    const known = this.table.findIndex(([n, v]) => n === name && v === value);
    if (known >= 0 && !this.random.oneIn(4)) return integer(0x80, 0x7f, STATIC_ENTRIES + 1 + known);
    const [mark, mask] = this.random.pick([
      [0x40, 0x3f],
      [0x40, 0x3f],
      [0x00, 0x0f],
      [0x10, 0x0f],
    ] as const);
    const named = this.table.findIndex(([n]) => n === name);
    const head =
      named >= 0 && this.random.oneIn(2)
        ? integer(mark, mask, STATIC_ENTRIES + 1 + named)
        : Buffer.concat([Buffer.from([mark]), this.text(name)]);
    if (mark === 0x40) {
      this.table.unshift(pair);
      this.evict();
    }
    return Buffer.concat([head, this.text(value)]);
  }

  private evict(): void {
    let bytes = this.table.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
    while (bytes > this.tableBytesMax) {
      const [name, value] = this.table.pop() as Pair;
      bytes -= name.length + value.length + 32;
    }
  }

  private text(text: string): Buffer {
    const coded = HUFFMAN.get(text);
    if (coded !== undefined && this.random.oneIn(2)) {
      const bytes = Buffer.from(coded, 'hex');
      return Buffer.concat([integer(0x80, 0x7f, bytes.length), bytes]);
    }
    return Buffer.concat([integer(0x00, 0x7f, text.length), Buffer.from(text, 'latin1')]);
  }
}

/** An integer behind the mark bits of its first byte (RFC 7541 §5.1). */
function integer(mark: number, prefixMask: number, value: number): Buffer {
  if (value < prefixMask) return Buffer.from([mark | value]);
  const bytes = [mark | prefixMask];
  let rest = value - prefixMask;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}
