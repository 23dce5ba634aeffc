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

/** Draws ids from a pool of random bytes, refilled when it is used up: one call to the kernel for 256 trace ids. */
export function createIdSource(fill: (pool: Buffer) => unknown = randomFillSync): IdSource {
  const pool = Buffer.alloc(POOL_BYTES);
  let used = POOL_BYTES;
  const draw = (bytes: number, zero: string): string => {
    for (;;) {
      if (used + bytes > POOL_BYTES) {
        fill(pool);
        used = 0;
      }
      used += bytes;
      const id = pool.toString('hex', used - bytes, used);
      if (id !== zero) return id;
    }
  };
  return { traceId: () => draw(16, ZERO_TRACE_ID), spanId: () => draw(8, ZERO_SPAN_ID) };
}

const RANDOM_RANGE = 2 ** 52;

/**
 * Decides for a trace that begins here, from its id alone, so that every process decides alike: the trace's randomness
 * (the last 56 bits of its id, of which 52 are read) is at or above the share of traces to leave out.
 *
 * @param ratio share of traces to record, 0 to 1
 */
export function isTraceSampled(traceId: string, ratio: number): boolean {
  if (ratio >= 1) return true;
  if (!(ratio > 0)) return false;
  return Number.parseInt(traceId.slice(18, 31), 16) >= (1 - ratio) * RANDOM_RANGE;
}
