import { hash } from 'node:crypto';

/**
 * How an entry stands in a segment, numbers big-endian:
 *
 * | bytes | what                                                                     |
 * | ----- | ------------------------------------------------------------------------ |
 * | 4     | `GHA1`, so that a reader finds its way again after damage                |
 * | 4     | length of the entry, at most 64 KiB                                      |
 * | 8     | sequence number, from 1, one more each time                              |
 * | 8     | the last sequence number that was on disk when this one was written      |
 * | 32    | hash of the entry before; zeros before the first                         |
 * | n     | gatehouse.audit.v1.AuditEntry                                            |
 * | 32    | hash: SHA-256 over all of the above                                      |
 */
export type Frame = {
  readonly sequence: number;
  readonly durableSequence: number;
  readonly previousHash: Buffer;
  readonly entry: Buffer;
  readonly hash: Buffer;
  /** Of the whole frame. */
  readonly bytes: number;
};

/** `beyond-end`: the data ends before the frame does. */
export type FrameProblem = 'beyond-end' | 'no-frame' | 'hash';

const MARKER = Buffer.from('GHA1');
const LENGTH_AT = 4;
const SEQUENCE_AT = 8;
const DURABLE_AT = 16;
const PREVIOUS_AT = 24;
const ENTRY_AT = 56;
const HASH_BYTES = 32;
const UINT32 = 2 ** 32;
/** Records are far smaller: whatever goes into one is clipped. */
const ENTRY_BYTES_MAX = 64 * 1024;
/** What comes before the first entry. */
export const NO_HASH: Buffer = Buffer.alloc(HASH_BYTES);

/** @returns the frame and its hash, which the next one has to carry */
export function writeFrame(
  entry: Uint8Array,
  place: { readonly sequence: number; readonly durableSequence: number; readonly previousHash: Buffer },
): { readonly frame: Buffer; readonly hash: Buffer } {
  if (entry.length > ENTRY_BYTES_MAX) throw new RangeError(`an entry of ${entry.length} bytes`);
  const end = ENTRY_AT + entry.length;
  const frame = Buffer.allocUnsafe(end + HASH_BYTES);
  MARKER.copy(frame);
  frame.writeUInt32BE(entry.length, LENGTH_AT);
  writeNumber(frame, SEQUENCE_AT, place.sequence);
  writeNumber(frame, DURABLE_AT, place.durableSequence);
  place.previousHash.copy(frame, PREVIOUS_AT);
  frame.set(entry, ENTRY_AT);
  const own = hash('sha256', frame.subarray(0, end), 'buffer');
  own.copy(frame, end);
  return { frame, hash: own };
}

/** Reads the frame that begins at an offset. What it gives points into the data. */
export function readFrame(data: Buffer, offset: number): Frame | FrameProblem {
  const rest = data.length - offset;
  const marker = data.subarray(offset, Math.min(offset + MARKER.length, data.length));
  if (!marker.equals(MARKER.subarray(0, marker.length))) return 'no-frame';
  if (rest < SEQUENCE_AT) return 'beyond-end';
  const length = data.readUInt32BE(offset + LENGTH_AT);
  if (length > ENTRY_BYTES_MAX) return 'no-frame';
  const end = ENTRY_AT + length;
  if (rest < end + HASH_BYTES) return 'beyond-end';
  const own = data.subarray(offset + end, offset + end + HASH_BYTES);
  if (!hash('sha256', data.subarray(offset, offset + end), 'buffer').equals(own)) return 'hash';
  return {
    sequence: readNumber(data, offset + SEQUENCE_AT),
    durableSequence: readNumber(data, offset + DURABLE_AT),
    previousHash: data.subarray(offset + PREVIOUS_AT, offset + ENTRY_AT),
    entry: data.subarray(offset + ENTRY_AT, offset + end),
    hash: own,
    bytes: end + HASH_BYTES,
  };
}

/** The next offset at which a whole, unchanged frame begins; -1 when there is none. */
export function findFrame(data: Buffer, from: number): number {
  let at = data.indexOf(MARKER, from);
  while (at >= 0 && typeof readFrame(data, at) === 'string') at = data.indexOf(MARKER, at + 1);
  return at;
}

function writeNumber(data: Buffer, at: number, value: number): void {
  data.writeUInt32BE(Math.floor(value / UINT32), at);
  data.writeUInt32BE(value % UINT32, at + 4);
}

function readNumber(data: Buffer, at: number): number {
  return data.readUInt32BE(at) * UINT32 + data.readUInt32BE(at + 4);
}
