/** The frames that both talkers make: a head, data, what belongs to no stream, and bytes gone wrong. */
import { Flag, FRAME_HEAD_BYTES, FRAME_PAYLOAD_BYTES, FrameType } from '../../../src/http2/frame-types.ts';
import { frame, uint32 } from '../../../src/http2/raw-peer.ts';
import type { Random } from '../support/random.ts';

const END_HEADERS = Flag.END_HEADERS;
/** RFC 7838 §4: clients of node:http2 know it. */
const ALTSVC = 10;

/** HEADERS and perhaps CONTINUATION frames of a block, padded and with a priority now and then. */
export function headFrames(random: Random, id: number, block: Buffer, endStream: boolean): Buffer[] {
  const flags = endStream ? Flag.END_STREAM : 0;
  const cuts = random.oneIn(4) ? [random.below(block.length + 1), random.below(block.length + 1)] : [];
  const edges = [0, ...cuts.sort((a, b) => a - b), block.length];
  const pieces = edges.slice(1).map((end, i) => block.subarray(edges[i], end));
  return pieces.map((piece, i) => {
    const last = i === pieces.length - 1 ? END_HEADERS : 0;
    if (i > 0) return frame(FrameType.CONTINUATION, last, id, piece);
    let payload = piece;
    let more = 0;
    if (random.oneIn(6)) {
      more |= Flag.PRIORITY;
      payload = Buffer.concat([uint32(random.below(id)), Buffer.from([random.below(256)]), payload]);
    }
    if (random.oneIn(6)) {
      more |= Flag.PADDED;
      payload = padded(payload, random.below(20));
    }
    return frame(FrameType.HEADERS, flags | last | more, id, payload);
  });
}

export function dataFrame(random: Random, id: number, text: string, endStream: boolean): Buffer {
  const flags = endStream ? Flag.END_STREAM : 0;
  if (!random.oneIn(4)) return frame(FrameType.DATA, flags, id, Buffer.from(text));
  return frame(FrameType.DATA, flags | Flag.PADDED, id, padded(Buffer.from(text), random.below(30)));
}

/**
 * Legal frames that begin, carry and end nothing.
 * @param open a stream that is open, or 0
 * @param nextId a stream that is not yet
 */
export function controlFrame(random: Random, open: number, nextId: number): Buffer {
  const setting = (id: number, value: number): Buffer =>
    Buffer.concat([Buffer.from([id >> 8, id & 0xff]), uint32(value)]);
  switch (random.below(8)) {
    case 0:
      return frame(FrameType.PING, 0, 0, Buffer.alloc(8, random.below(256)));
    case 1:
      return frame(FrameType.SETTINGS, 0, 0, setting(4, random.pick([0, 1, 65_535, 100_000])));
    case 2:
      return frame(
        FrameType.SETTINGS,
        0,
        0,
        Buffer.concat([setting(1, random.below(5_000)), setting(0x77, random.below(9))]),
      );
    case 3:
      return frame(FrameType.SETTINGS, 0, 0, setting(5, random.pick([16_384, 16_777_215])));
    case 4:
      return frame(FrameType.WINDOW_UPDATE, 0, random.pick([0, open]), uint32(1 + random.below(1_000)));
    case 5:
      return frame(
        FrameType.PRIORITY,
        0,
        nextId + 2 * random.below(3),
        Buffer.concat([uint32(0), Buffer.from([random.below(256)])]),
      );
    case 6:
      // Unknown types and flags are ignored.
      return frame(
        0x20 + random.below(0xd0),
        random.below(256),
        random.pick([0, open]),
        Buffer.alloc(random.below(40)),
      );
    default:
      return frame(FrameType.PING, 0xfe, 0, Buffer.alloc(8));
  }
}

/** All frames of a conversation as they go out: now and then with a mutation, which is noted in `moves`, and cut anywhere. */
export function asSent(random: Random, frames: readonly Buffer[], moves: string[], nextId: number): Buffer[] {
  if (frames.length === 0 || !random.oneIn(12)) return cut(random, Buffer.concat(frames));
  const bytes = whole(mutated(random, frames, moves, nextId));
  moves.push(...frameKinds(bytes));
  return cut(random, bytes);
}

/** Frames in which something has gone wrong somewhere: bytes flipped, a frame lost, doubled or made up. */
function mutated(random: Random, frames: readonly Buffer[], moves: string[], nextId: number): Buffer {
  moves.push('mutation');
  const at = random.below(frames.length);
  const victim = frames[at] as Buffer;
  switch (random.below(4)) {
    case 0: {
      const bytes = Buffer.from(victim);
      const flips = 1 + random.below(3);
      for (let i = 0; i < flips; i++) {
        const index = random.below(bytes.length);
        bytes[index] = (bytes[index] as number) ^ (1 << random.below(8));
      }
      return Buffer.concat([...frames.slice(0, at), bytes, ...frames.slice(at + 1)]);
    }
    case 1:
      return Buffer.concat([...frames.slice(0, at), ...frames.slice(at + 1)]);
    case 2:
      return Buffer.concat([...frames.slice(0, at), victim, ...frames.slice(at)]);
    default: {
      const payload = Buffer.from(Array.from({ length: random.below(30) }, () => random.below(256)));
      const made = frame(random.below(11), random.below(256), random.below(nextId + 3), payload);
      return Buffer.concat([...frames.slice(0, at), made, ...frames.slice(at)]);
    }
  }
}

/** Cuts bytes anywhere. */
function cut(random: Random, bytes: Buffer): Buffer[] {
  if (random.oneIn(3)) return [bytes];
  const chunks: Buffer[] = [];
  const largest = random.pick([1, 5, 30, 200]);
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + random.below(largest);
    chunks.push(bytes.subarray(at, at + size));
    at += size;
    // One byte after the other only for a while: it is slow.
    if (chunks.length > 60) break;
  }
  const done = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  return done < bytes.length ? [...chunks, bytes.subarray(done)] : chunks;
}

/** Frames that a mutation may have brought, and that servers take differently. */
function frameKinds(bytes: Buffer): string[] {
  const kinds: string[] = [];
  for (let at = 0; at + FRAME_HEAD_BYTES <= bytes.length; at += FRAME_HEAD_BYTES + bytes.readUIntBE(at, 3)) {
    const isAck = ((bytes[at + 4] as number) & Flag.ACK) !== 0;
    if (bytes[at + 3] === FrameType.GOAWAY) kinds.push('made-up GOAWAY');
    if (bytes[at + 3] === ALTSVC) kinds.push('made-up ALTSVC');
    const isAcked = bytes[at + 3] === FrameType.PING || bytes[at + 3] === FrameType.SETTINGS;
    if (isAcked && isAck) kinds.push('made-up acknowledgement');
  }
  return kinds;
}

/**
 * Fills up the last frame, and ends the last header block, where they are cut: one server may judge them as soon as it
 * can, the other when they are whole. A frame that is too large is judged by its head alone.
 */
function whole(bytes: Buffer): Buffer {
  let at = 0;
  let blockId = 0;
  while (at + FRAME_HEAD_BYTES <= bytes.length) {
    const size = bytes.readUIntBE(at, 3);
    const type = bytes[at + 3];
    if (size > FRAME_PAYLOAD_BYTES) return bytes;
    if (type === FrameType.HEADERS || type === FrameType.CONTINUATION) {
      const ends = ((bytes[at + 4] as number) & Flag.END_HEADERS) !== 0;
      blockId = ends ? 0 : bytes.readUInt32BE(at + 5);
    }
    at += FRAME_HEAD_BYTES + size;
  }
  const missing = at < bytes.length ? at + FRAME_HEAD_BYTES - bytes.length : at - bytes.length;
  if (missing > 0) return whole(Buffer.concat([bytes, Buffer.alloc(missing)]));
  return blockId === 0
    ? bytes
    : Buffer.concat([bytes, frame(FrameType.CONTINUATION, Flag.END_HEADERS, blockId)]);
}

function padded(payload: Buffer, count: number): Buffer {
  return Buffer.concat([Buffer.from([count]), payload, Buffer.alloc(count)]);
}
