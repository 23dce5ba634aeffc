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
/** Bytes that the representation's integers can take beside the strings: three integers of at most six bytes. */
const OVERHEAD_BYTES = 18;

export class HpackEncoder {
  private readonly table: HpackTable;
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

  /** Begins a block. */
  begin(out: OutputBuffer): void {
    if (this.sizePending < 0) return;
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

  write(out: OutputBuffer, field: Field): void {
    out.room(OVERHEAD_BYTES + field.name.length + field.value.length);
    if (field.staticIndex !== 0) {
      out.bytes[out.length++] = 0x80 | field.staticIndex;
      return;
    }
    if (field.neverIndex) return writeLiteral(out, 0x10, 0x0f, field);
    if (field.fieldName.indexing !== Indexing.ALLOWED) return writeLiteral(out, 0x00, 0x0f, field);
    const number = this.numbers.get(field);
    if (number !== undefined) {
      const index = this.table.indexOf(number);
      if (index !== 0) return writeInteger(out, 0x80, 0x7f, index);
    }
    if (!field.reused || field.size * 2 > this.table.sizeMax) {
      field.reused = true;
      return writeLiteral(out, 0x00, 0x0f, field);
    }
    writeLiteral(out, 0x40, 0x3f, field);
    this.table.insert(field);
    this.numbers.set(field, this.table.inserted);
    // Evicted fields leave their numbers behind; swept when they outnumber the entries.
    if (this.numbers.size > 2 * this.table.count + 16) this.dropEvicted();
  }

  private dropEvicted(): void {
    for (const [field, number] of this.numbers) {
      if (this.table.indexOf(number) === 0) this.numbers.delete(field);
    }
  }
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
