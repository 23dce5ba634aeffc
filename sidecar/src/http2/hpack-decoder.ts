/** HPACK decoding (RFC 7541 §3, §6) into shared Field objects. */
import { Field, type FieldName, fieldName } from './field.ts';
import { internedField, internField, literalHash } from './field-intern.ts';
import { HpackTable } from './hpack-table.ts';
import { huffmanDecode } from './huffman.ts';
import { RepeatedBlocks } from './repeated-blocks.ts';

/** Result of decoding a block. */
export const Decoded = {
  /** `fields` holds the list. */
  OK: 0,
  /** The list is over a limit; the table is in step all the same, so this is the stream's fault alone. */
  OVER_LIMIT: 1,
  /** The block cannot be decoded: COMPRESSION_ERROR for the connection (RFC 9113 §4.3). */
  INVALID: 2,
  /** The list is so far over a limit that the rest was not decoded: the connection is lost. */
  FAR_OVER_LIMIT: 3,
} as const;

/** A list of as many times the limit is no mistake (an HPACK bomb, CVE-2016-6581). */
const FAR_OVER = 4;

export interface HeaderListLimits {
  /** Bytes of a decoded list as RFC 7541 §4.1 counts them: each field's lengths and 32. */
  readonly headerListBytesMax: number;
  /** Fields in a list. */
  readonly headerFieldsMax: number;
}

/** The most a table may ever hold before SETTINGS say otherwise (RFC 9113 §6.5.2). */
export const HEADER_TABLE_BYTES_INITIAL = 4096;

const INTEGER_INVALID = -1;
const INTEGER_SHIFT_MAX = 21;
const NEVER_INDEXED = 0x10;

/** Strings decoded from Huffman code come out here first; grown on demand up to a block's largest string. */
let scratch: Buffer = Buffer.allocUnsafeSlow(8192);

/** A block's fields are gathered here, so that the list made of them has the right length at once. */
const gathered: Field[] = [];

export class HpackDecoder {
  /** The last block's fields; may be kept, and is never changed: blocks that are alike share their list. */
  fields: readonly Field[] = [];
  private readonly table: HpackTable;
  private readonly repeated = new RepeatedBlocks();
  private readonly limits: HeaderListLimits;
  private tableBytesMax: number;
  private sizeUpdateDue = false;
  /** The block so far holds nothing but references to entries of the tables. */
  private onlyReferences = true;
  private bytes: Buffer = scratch;
  private pos = 0;
  private end = 0;

  /** @param headerTableBytes the table size announced to the peer */
  constructor(headerTableBytes: number, limits: HeaderListLimits) {
    this.limits = limits;
    this.tableBytesMax = Math.max(headerTableBytes, HEADER_TABLE_BYTES_INITIAL);
    this.table = new HpackTable(HEADER_TABLE_BYTES_INITIAL, this.tableBytesMax);
  }

  /** The peer has acknowledged our SETTINGS_HEADER_TABLE_SIZE: a smaller table is in force from its next block on. */
  tableSizeAcknowledged(headerTableBytes: number): void {
    this.tableBytesMax = headerTableBytes;
    this.sizeUpdateDue = this.table.sizeMax > headerTableBytes;
  }

  /** Decodes one whole header block `[start, end)`. @returns one of Decoded */
  decode(bytes: Buffer, start: number, end: number): number {
    const known = this.sizeUpdateDue ? null : this.repeated.find(bytes, start, end, this.table.version);
    if (known !== null) {
      this.fields = known;
      return Decoded.OK;
    }
    this.bytes = bytes;
    this.pos = start;
    this.end = end;
    this.onlyReferences = true;
    if (!this.sizeUpdates()) return Decoded.INVALID;
    const limits = this.limits;
    let listBytes = 0;
    let count = 0;
    let kept = 0;
    while (this.pos < end) {
      const made = this.field(bytes[this.pos] as number);
      if (made === null) return Decoded.INVALID;
      listBytes += made.size;
      count++;
      if (listBytes <= limits.headerListBytesMax && count <= limits.headerFieldsMax) gathered[kept++] = made;
      else if (listBytes > FAR_OVER * limits.headerListBytesMax || count > FAR_OVER * limits.headerFieldsMax)
        return Decoded.FAR_OVER_LIMIT;
    }
    this.fields = gathered.slice(0, kept);
    this.bytes = scratch; // A connection that falls silent holds no read buffer.
    if (count !== kept) return Decoded.OVER_LIMIT;
    if (this.onlyReferences) this.repeated.keep(bytes, start, end, this.table.version, this.fields);
    return Decoded.OK;
  }

  /** Size updates stand at the beginning of a block only (RFC 7541 §4.2). */
  private sizeUpdates(): boolean {
    while (this.pos < this.end && ((this.bytes[this.pos] as number) & 0xe0) === 0x20) {
      const size = this.integer(0x1f);
      if (size === INTEGER_INVALID || size > this.tableBytesMax) return false;
      this.onlyReferences = false;
      this.table.resize(size);
      this.sizeUpdateDue = false;
    }
    return !this.sizeUpdateDue;
  }

  private field(first: number): Field | null {
    if ((first & 0x80) !== 0) {
      const index = this.integer(0x7f);
      return index === INTEGER_INVALID ? null : this.table.at(index);
    }
    if ((first & 0x40) !== 0) {
      const made = this.literal(0x3f, false);
      if (made !== null) this.table.insert(made);
      return made;
    }
    if ((first & 0x20) !== 0) return null;
    return this.literal(0x0f, (first & NEVER_INDEXED) !== 0);
  }

  private literal(prefixMask: number, neverIndex: boolean): Field | null {
    this.onlyReferences = false;
    const index = this.integer(prefixMask);
    if (index === INTEGER_INVALID) return null;
    let name: FieldName | null = null;
    if (index !== 0) {
      const named = this.table.at(index);
      if (named === null) return null;
      name = named.fieldName;
    }
    const start = this.pos;
    if (name === null && !this.skipString()) return null;
    const valueStart = this.pos;
    if (!this.skipString()) return null;
    const end = this.pos;
    if (neverIndex) return this.newField(name, start, valueStart, true);
    const hash = literalHash(this.bytes, start, end, name);
    const known = internedField(hash, this.bytes, start, end, name);
    if (known !== null) return known;
    const made = this.newField(name, start, valueStart, false);
    if (made !== null) internField(hash, this.bytes, start, end, name, made);
    return made;
  }

  private newField(
    name: FieldName | null,
    nameStart: number,
    valueStart: number,
    neverIndex: boolean,
  ): Field | null {
    let named = name;
    if (named === null) {
      this.pos = nameStart;
      const text = this.string();
      if (text === null) return null;
      named = fieldName(text);
    }
    this.pos = valueStart;
    const value = this.string();
    return value === null ? null : new Field(named, value, neverIndex);
  }

  /** Moves over a string (RFC 7541 §5.2); false when it does not fit into the block. */
  private skipString(): boolean {
    if (this.pos >= this.end) return false;
    const length = this.integer(0x7f);
    if (length === INTEGER_INVALID || length > this.end - this.pos) return false;
    this.pos += length;
    return true;
  }

  /** Reads a string whose bounds `skipString` has checked; null when its Huffman code is invalid. */
  private string(): string | null {
    const coded = ((this.bytes[this.pos] as number) & 0x80) !== 0;
    const length = this.integer(0x7f);
    const start = this.pos;
    const end = start + length;
    this.pos = end;
    if (!coded) return this.bytes.toString('latin1', start, end);
    if (scratch.length < length * 2) scratch = Buffer.allocUnsafeSlow(length * 2);
    const written = huffmanDecode(this.bytes, start, end, scratch);
    return written < 0 ? null : scratch.toString('latin1', 0, written);
  }

  /** Reads an integer (RFC 7541 §5.1) of at most four continuation bytes; the first byte is known to be there. */
  private integer(prefixMask: number): number {
    let value = (this.bytes[this.pos++] as number) & prefixMask;
    if (value < prefixMask) return value;
    for (let shift = 0; shift <= INTEGER_SHIFT_MAX; shift += 7) {
      if (this.pos >= this.end) return INTEGER_INVALID;
      const byte = this.bytes[this.pos++] as number;
      value += (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) return value;
    }
    return INTEGER_INVALID;
  }
}
