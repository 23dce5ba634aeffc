/**
 * HPACK encoding (RFC 7541 §6). A Field object that is sent again is found in the table by identity. Strings go out
 * as they are: Huffman coding would cost more time than the bytes are worth between pods.
 */
import { type Field, Indexing } from './field.ts';
import { HEADER_TABLE_BYTES_INITIAL } from './hpack-decoder.ts';
import { HpackTable } from './hpack-table.ts';
import type { OutputBuffer } from './output-buffer.ts';

/** Shorter strings are copied by a loop; longer ones are worth the call into native code. */
const LOOP_COPY_MAX = 14;
/** Whole blocks are kept up to this size: as many bytes as a loop copies sooner than a call into native code. */
const KEPT_BLOCK_BYTES_MAX = 20;
/** Lists whose blocks are kept, from 1, a power of two. */
const KEPT_BLOCKS_MAX = 8;
/** Bytes that the representation's integers can take beside the strings: three integers of at most six bytes. */
const OVERHEAD_BYTES = 18;

/** What was written for a list, which holds for as long as the table stays the same. */
class KeptBlock {
  fields: readonly Field[];
  tableVersion = -1;
  length = 0;
  readonly bytes = new Uint8Array(KEPT_BLOCK_BYTES_MAX);

  constructor(fields: readonly Field[]) {
    this.fields = fields;
  }
}

export class HpackEncoder {
  private readonly table: HpackTable;
  /** By the length of the list: a head's and the trailers' differ. Nothing but references to entries is kept. */
  private readonly kept: (KeptBlock | undefined)[] = [];
  private onlyReferences = true;
  private readonly numbers = new Map<Field, number>();
  private readonly tableBytesMax: number;
  private smallestPending = -1;
  private sizePending = -1;

  /** @param headerTableBytes the most of the peer's table to use; the peer may allow less, in bytes */
  constructor(headerTableBytes: number) {
    this.tableBytesMax = headerTableBytes;
    const initial = Math.min(headerTableBytes, HEADER_TABLE_BYTES_INITIAL);
    this.table = new HpackTable(initial, headerTableBytes);
    if (initial < HEADER_TABLE_BYTES_INITIAL) this.peerTableBytes(HEADER_TABLE_BYTES_INITIAL);
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. The next block begins with the updates this asks for (RFC 7541 §4.2). */
  peerTableBytes(bytes: number): void {
    const size = Math.min(bytes, this.tableBytesMax);
    if (this.sizePending < 0 && size === this.table.sizeMax && size >= HEADER_TABLE_BYTES_INITIAL) return;
    this.smallestPending = this.smallestPending < 0 ? size : Math.min(this.smallestPending, size);
    this.sizePending = size;
  }

  /** Writes a whole block. A list that is the same object as one before holds the same fields. */
  write(out: OutputBuffer, fields: readonly Field[]): void {
    if (this.sizePending >= 0) this.sizeUpdates(out);
    const kept = this.kept[fields.length & (KEPT_BLOCKS_MAX - 1)];
    if (kept?.fields === fields && kept.tableVersion === this.table.version) return copy(out, kept);
    const start = out.length;
    this.onlyReferences = true;
    for (let i = 0; i < fields.length; i++) this.field(out, fields[i] as Field);
    if (this.onlyReferences) this.keep(fields, out, start);
  }

  /** The list's bytes are kept when it comes for the second time: most lists come but once. */
  private keep(fields: readonly Field[], out: OutputBuffer, start: number): void {
    const place = fields.length & (KEPT_BLOCKS_MAX - 1);
    const kept = (this.kept[place] ??= new KeptBlock(fields));
    const length = out.length - start;
    kept.tableVersion = -1;
    if (kept.fields === fields && length <= KEPT_BLOCK_BYTES_MAX) {
      kept.tableVersion = this.table.version;
      kept.length = length;
      kept.bytes.set(out.bytes.subarray(start, out.length));
    }
    kept.fields = fields;
  }

  private sizeUpdates(out: OutputBuffer): void {
    out.room(2 * 6);
    if (this.smallestPending < this.sizePending) this.sizeUpdate(out, this.smallestPending);
    this.sizeUpdate(out, this.sizePending);
    this.smallestPending = -1;
    this.sizePending = -1;
  }

  private sizeUpdate(out: OutputBuffer, size: number): void {
    this.table.resize(size);
    this.dropEvicted();
    writeInteger(out, 0x20, 0x1f, size);
  }

  private field(out: OutputBuffer, field: Field): void {
    out.room(OVERHEAD_BYTES + field.name.length + field.value.length);
    if (field.staticIndex !== 0) {
      out.bytes[out.length++] = 0x80 | field.staticIndex;
      return;
    }
    const index = this.indexOf(field);
    if (index !== 0) return writeInteger(out, 0x80, 0x7f, index);
    this.onlyReferences = false;
    if (field.neverIndex) return writeLiteral(out, 0x10, 0x0f, field);
    if (field.fieldName.indexing !== Indexing.ALLOWED) return writeLiteral(out, 0x00, 0x0f, field);
    if (!field.reused || field.size * 2 > this.table.sizeMax) {
      field.reused = true;
      return writeLiteral(out, 0x00, 0x0f, field);
    }
    writeLiteral(out, 0x40, 0x3f, field);
    this.table.insert(field);
    this.numbers.set(field, this.table.inserted);
    field.tableId = this.table.id;
    field.tableNumber = this.table.inserted;
    // Evicted fields leave their numbers behind; swept when they outnumber the entries.
    if (this.numbers.size > 2 * this.table.count + 16) this.dropEvicted();
  }

  /** The field's index in the table, or 0. Most fields were last written into this table, and say themselves where. */
  private indexOf(field: Field): number {
    if (field.tableId === this.table.id) return this.table.indexOf(field.tableNumber);
    const number = field.tableId === 0 ? undefined : this.numbers.get(field);
    if (number === undefined) return 0;
    field.tableId = this.table.id;
    field.tableNumber = number;
    return this.table.indexOf(number);
  }

  private dropEvicted(): void {
    for (const [field, number] of this.numbers) {
      if (this.table.indexOf(number) === 0) this.numbers.delete(field);
    }
  }
}

function copy(out: OutputBuffer, { bytes, length }: KeptBlock): void {
  out.room(length);
  const to = out.bytes;
  const at = out.length;
  for (let i = 0; i < length; i++) to[at + i] = bytes[i] as number;
  out.length = at + length;
}

function writeLiteral(out: OutputBuffer, mark: number, prefixMask: number, field: Field): void {
  const nameIndex = field.fieldName.staticIndex;
  writeInteger(out, mark, prefixMask, nameIndex);
  if (nameIndex === 0) writeString(out, field.name);
  writeString(out, field.value);
}

function writeString(out: OutputBuffer, text: string): void {
  const length = text.length;
  writeInteger(out, 0x00, 0x7f, length);
  const bytes = out.bytes;
  const at = out.length;
  if (length <= LOOP_COPY_MAX) {
    for (let i = 0; i < length; i++) bytes[at + i] = text.charCodeAt(i);
  } else {
    bytes.write(text, at, length, 'latin1');
  }
  out.length = at + length;
}

/** Writes an integer behind the mark bits of its first byte (RFC 7541 §5.1). */
function writeInteger(out: OutputBuffer, mark: number, prefixMask: number, value: number): void {
  const bytes = out.bytes;
  if (value < prefixMask) {
    bytes[out.length++] = mark | value;
    return;
  }
  bytes[out.length++] = mark | prefixMask;
  let rest = value - prefixMask;
  while (rest >= 0x80) {
    bytes[out.length++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[out.length++] = rest;
}
