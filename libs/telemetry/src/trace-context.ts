/**
 * W3C Trace Context, level 2: the `traceparent` header, ids and the sampling decision. Has no dependency, so that a
 * process that records no span loads nothing.
 */
import { randomFillSync } from 'node:crypto';

/** What one `traceparent` header says. */
export type TraceParent = {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string;
  /** The sender's span: 16 lower-case hex digits, not all zero. */
  readonly spanId: string;
  /** Whether the sender recorded its span. */
  readonly sampled: boolean;
  /** Whether the last 56 bits of the trace id are random (level 2, §3.2.2.5.2). */
  readonly random: boolean;
};

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const TRACEPARENT_LENGTH_MAX = 512;
const ZERO_TRACE_ID = '0'.repeat(32);
const ZERO_SPAN_ID = '0'.repeat(16);
const FLAG_SAMPLED = 1;
const FLAG_RANDOM = 2;

/**
 * Reads a `traceparent` header. Gives undefined for anything malformed, after which a new trace begins (§3.2.2). A
 * version above 00 is read by the rules of 00 and may have more after the flags; 00 itself may not.
 */
export function parseTraceparent(header: string | undefined): TraceParent | undefined {
  if (header === undefined || header.length > TRACEPARENT_LENGTH_MAX) return undefined;
  const match = TRACEPARENT.exec(header);
  if (match === null) return undefined;
  const [, version = '', traceId = '', spanId = '', flagsHex = '', rest] = match;
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined;
  if (traceId === ZERO_TRACE_ID || spanId === ZERO_SPAN_ID) return undefined;
  const flags = Number.parseInt(flagsHex, 16);
  return { traceId, spanId, sampled: (flags & FLAG_SAMPLED) !== 0, random: (flags & FLAG_RANDOM) !== 0 };
}

/** Writes a `traceparent` header of version 00; flags that level 2 does not name are sent as zero. */
export function formatTraceparent(parent: TraceParent): string {
  const flags = (parent.sampled ? FLAG_SAMPLED : 0) | (parent.random ? FLAG_RANDOM : 0);
  return `00-${parent.traceId}-${parent.spanId}-0${flags}`;
}

/** Makes ids of the lengths that traceparent wants, in lower-case hex. */
export type IdSource = { traceId(): string; spanId(): string };

const POOL_BYTES = 4096;
const ZERO_DIGIT = '0'.charCodeAt(0);

/** Cuts ids from a pool of random digits, made anew when it is used up: one call to the kernel for 256 trace ids. */
export function createIdSource(fill: (pool: Buffer) => unknown = randomFillSync): IdSource {
  const pool = Buffer.alloc(POOL_BYTES);
  let digits = '';
  let used = 0;
  const draw = (count: number, zero: string): string => {
    for (;;) {
      if (used + count > digits.length) {
        fill(pool);
        digits = pool.toString('hex');
        used = 0;
      }
      used += count;
      const id = digits.slice(used - count, used);
      // Its first digit tells of nearly every id that it is not all zero, at a tenth of what comparing texts costs.
      if (id.charCodeAt(0) !== ZERO_DIGIT || id !== zero) return id;
    }
  };
  return { traceId: () => draw(32, ZERO_TRACE_ID), spanId: () => draw(16, ZERO_SPAN_ID) };
}

/** Hex digits of the randomness that are read: as many as a number holds exactly. */
const RANDOM_DIGITS = 13;
const RANDOM_RANGE = 16 ** RANDOM_DIGITS;
/** Where they begin in a trace id: its last 14 digits are the randomness. */
const RANDOM_FROM = 18;

/**
 * Decides for traces that begin here, from their ids alone, so that every process decides alike: the trace's randomness
 * (the last 56 bits of its id, of which 52 are read) is at or above the share of traces to leave out.
 *
 * @param ratio share of traces to record, 0 to 1
 */
export function traceSampler(ratio: number): (traceId: string) => boolean {
  if (ratio >= 1) return () => true;
  const leftOut = Math.ceil((1 - ratio) * RANDOM_RANGE);
  if (!(leftOut < RANDOM_RANGE)) return () => false;
  const from = leftOut.toString(16).padStart(RANDOM_DIGITS, '0');
  // Digit by digit, because nearly always the first one decides: to read a number from each id costs ten times as much.
  return (traceId) => {
    for (let i = 0; i < RANDOM_DIGITS; i++) {
      const difference = traceId.charCodeAt(RANDOM_FROM + i) - from.charCodeAt(i);
      if (difference !== 0) return difference > 0;
    }
    return true;
  };
}
