/** Conversations of one client with a server, legal and illegal, from random numbers alone. */
import { Flag, FRAME_HEAD_BYTES, FRAME_PAYLOAD_BYTES, FrameType } from '../../../src/http2/frame-types.ts';
import { frame, uint32 } from '../../../src/http2/raw-peer.ts';
import type { Random } from '../support/random.ts';
import { HeaderWriter, type Pair } from './header-writer.ts';
import { illegalFrames } from './illegal-frames.ts';
import { illegalHeads } from './illegal-heads.ts';

/** Streams, frames and what is wrong on purpose in one conversation. */
export type Conversation = {
  /** Cut anywhere. */
  readonly chunks: readonly Buffer[];
  /** The first stream id that belongs to it, and the first that does not. */
  readonly fromId: number;
  readonly toId: number;
  /** Names of what it does, for people and for leniency. */
  readonly moves: readonly string[];
};

const END_HEADERS = Flag.END_HEADERS;

/** One connection's client: it keeps the next stream id and the HPACK table. */
export class Talker {
  readonly random: Random;
  readonly writer: HeaderWriter;
  nextId = 1;
  /** The first stream id of this conversation. */
  fromId = 1;
  /** Streams of this conversation whose request has not ended. */
  openIds: number[] = [];

  constructor(random: Random) {
    this.random = random;
    this.writer = new HeaderWriter(random);
  }

  next(): Conversation {
    const { random } = this;
    const fromId = this.nextId;
    this.fromId = fromId;
    this.openIds = [];
    const moves: string[] = [];
    const frames: Buffer[] = [];
    const count = 1 + random.below(6);
    for (let i = 0; i < count; i++) {
      const [name, bytes] = this.move();
      moves.push(name);
      frames.push(...bytes);
    }
    // What is still open ends here, so that the next conversation begins with nothing open.
    for (const id of this.openIds.filter(() => !random.oneIn(3))) frames.push(this.end(id));
    for (const id of this.openIds) {
      moves.push('cancel');
      frames.push(frame(FrameType.RST_STREAM, 0, id, uint32(8)));
    }
    const bytes =
      frames.length > 0 && random.oneIn(12) ? whole(this.mutated(frames, moves)) : Buffer.concat(frames);
    if (moves.includes('mutation')) moves.push(...frameKinds(bytes));
    return { chunks: this.cut(bytes), fromId, toId: this.nextId, moves };
  }

  takeId(): number {
    // Ids may be skipped.
    const id = this.nextId + (this.random.oneIn(15) ? 2 * this.random.below(5) : 0);
    this.nextId = id + 2;
    return id;
  }

  requestFields(): Pair[] {
    const { random } = this;
    const fields: Pair[] = [
      [':method', random.pick(['GET', 'POST', 'POST', 'OPTIONS'])],
      [':scheme', random.pick(['http', 'https'])],
      [':path', random.pick(['/', '/a.B/C', '/x?y=z'])],
      [':authority', random.pick(['www.example.com', 'x', 'localhost:80'])],
    ];
    fields.sort(() => random.below(3) - 1);
    const extra = random.below(5);
    for (let i = 0; i < extra; i++) {
      fields.push(
        random.pick<Pair>([
          ['te', 'trailers'],
          ['cache-control', 'no-cache'],
          ['custom-key', 'custom-value'],
          ['cookie', `c=${random.below(3)}`],
          ['x-empty', ''],
          ['x-bytes', String.fromCharCode(0x80 + random.below(128), 0x21)],
          [`x-${random.below(9)}`, 'v'.repeat(random.below(200))],
        ]),
      );
    }
    return fields;
  }

  /** HEADERS and perhaps CONTINUATION frames, padded and with a priority now and then. */
  head(id: number, fields: readonly Pair[], endStream: boolean): Buffer[] {
    const { random } = this;
    const block = this.writer.block(fields);
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

  data(id: number, text: string, endStream: boolean): Buffer {
    const flags = endStream ? Flag.END_STREAM : 0;
    if (!this.random.oneIn(4)) return frame(FrameType.DATA, flags, id, Buffer.from(text));
    return frame(FrameType.DATA, flags | Flag.PADDED, id, padded(Buffer.from(text), this.random.below(30)));
  }

  private end(id: number): Buffer {
    this.openIds = this.openIds.filter((open) => open !== id);
    return this.data(id, 'last', true);
  }

  private move(): readonly [string, Buffer[]] {
    const { random } = this;
    const open = this.openIds.length > 0 ? random.pick(this.openIds) : 0;
    const choice = random.below(100);
    if (choice < 22) return ['request', this.head(this.takeId(), this.requestFields(), true)];
    if (choice < 45) return ['open request', this.openRequest()];
    if (choice < 60 && open > 0) return ['data', [this.data(open, 'd'.repeat(random.below(300)), false)]];
    if (choice < 64 && open > 0) return ['end', [this.end(open)]];
    if (choice < 70 && open > 0) return ['trailers', this.trailers(open)];
    if (choice < 73 && open > 0) return ['reset', this.reset(open)];
    if (choice < 85) return ['control', [this.control(open)]];
    return random.oneIn(2) ? illegalHeads(this) : illegalFrames(this, open);
  }

  private openRequest(): Buffer[] {
    const id = this.takeId();
    const fields = this.requestFields();
    if (this.random.oneIn(8)) {
      const text = 'b'.repeat(this.random.below(50));
      return [
        ...this.head(id, [...fields, ['content-length', String(text.length)]], false),
        this.data(id, text, true),
      ];
    }
    this.openIds.push(id);
    return this.head(id, fields, false);
  }

  private trailers(id: number): Buffer[] {
    this.openIds = this.openIds.filter((open) => open !== id);
    return this.head(id, [['x-trailer', 't'.repeat(this.random.below(9))]], true);
  }

  private reset(id: number): Buffer[] {
    this.openIds = this.openIds.filter((open) => open !== id);
    return [frame(FrameType.RST_STREAM, 0, id, uint32(this.random.below(20)))];
  }

  /** Legal frames that begin, carry and end nothing. */
  private control(open: number): Buffer {
    const { random } = this;
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
          this.nextId + 2 * random.below(3),
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

  /** Frames in which something has gone wrong somewhere: bytes flipped, a frame lost, doubled or made up. */
  private mutated(frames: Buffer[], moves: string[]): Buffer {
    const { random } = this;
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
        const made = frame(random.below(11), random.below(256), random.below(this.nextId + 3), payload);
        return Buffer.concat([...frames.slice(0, at), made, ...frames.slice(at)]);
      }
    }
  }

  private cut(bytes: Buffer): Buffer[] {
    const { random } = this;
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
}

/** Frames that a mutation may have brought, and that servers take differently. */
function frameKinds(bytes: Buffer): string[] {
  const kinds: string[] = [];
  for (let at = 0; at + FRAME_HEAD_BYTES <= bytes.length; at += FRAME_HEAD_BYTES + bytes.readUIntBE(at, 3)) {
    const isAck = ((bytes[at + 4] as number) & Flag.ACK) !== 0;
    if (bytes[at + 3] === FrameType.GOAWAY) kinds.push('made-up GOAWAY');
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
