/**
 * Interning of decoded literals: the raw bytes of a literal lead to the Field made of them before, without decoding.
 * One direct-mapped table for the process, so that fields which many clients send are one object to every encoder.
 * Sensitive and high-cardinality fields never enter it.
 */
import { type Field, type FieldName, Indexing } from './field.ts';

const SLOTS = 2048;
/** Longer literals are decoded each time: with SLOTS it bounds the table to half a megabyte of raw bytes. */
const RAW_BYTES_MAX = 256;

class Entry {
  readonly hash: number;
  readonly name: FieldName | null;
  readonly raw: Uint8Array;
  readonly field: Field;

  constructor(hash: number, name: FieldName | null, raw: Uint8Array, field: Field) {
    this.hash = hash;
    this.name = name;
    this.raw = raw;
    this.field = field;
  }
}

const table: (Entry | null)[] = Array.from<Entry | null>({ length: SLOTS }).fill(null);

/**
 * Hash of a literal's raw bytes (lengths and Huffman marks included).
 * @param name the name when the literal took it from a table, else null and the raw bytes hold it
 */
export function literalHash(bytes: Buffer, start: number, end: number, name: FieldName | null): number {
  let hash = name === null ? 0x811c9dc5 : name.hash;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
  return hash;
}

export function internedField(
  hash: number,
  bytes: Buffer,
  start: number,
  end: number,
  name: FieldName | null,
): Field | null {
  const entry = table[(hash >>> 0) % SLOTS] as Entry | null;
  if (entry === null || entry.hash !== hash || entry.name !== name || entry.raw.length !== end - start)
    return null;
  const raw = entry.raw;
  for (let i = 0; i < raw.length; i++) {
    if (raw[i] !== bytes[start + i]) return null;
  }
  return entry.field;
}

export function internField(
  hash: number,
  bytes: Buffer,
  start: number,
  end: number,
  name: FieldName | null,
  field: Field,
): void {
  if (end - start > RAW_BYTES_MAX || field.neverIndex || field.fieldName.indexing !== Indexing.ALLOWED)
    return;
  table[(hash >>> 0) % SLOTS] = new Entry(
    hash,
    name,
    Uint8Array.prototype.slice.call(bytes, start, end),
    field,
  );
}
