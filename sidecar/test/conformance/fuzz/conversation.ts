/** Conversations of one client with a server, legal and illegal, from random numbers alone. */
import { FrameType } from '../../../src/http2/frame-types.ts';
import { frame, uint32 } from '../../../src/http2/raw-peer.ts';
import type { Random } from '../support/random.ts';
import { extraFields } from './extra-fields.ts';
import { asSent, controlFrame, dataFrame, headFrames } from './frames.ts';
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

/** What illegal frames are made with, whichever side makes them. */
export interface Speaker {
  readonly random: Random;
  readonly writer: HeaderWriter;
  /** The next stream id of the client. */
  readonly nextId: number;
  /** The first stream id of this conversation. */
  readonly fromId: number;
  /** A stream that a head may begin on. */
  takeId(): number;
  /** A legal head for it. */
  someFields(): Pair[];
  head(id: number, fields: readonly Pair[], endStream: boolean): Buffer[];
  data(id: number, text: string, endStream: boolean): Buffer;
}

/** One connection's client: it keeps the next stream id and the HPACK table. */
export class Talker implements Speaker {
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
    return { chunks: asSent(random, frames, moves, this.nextId), fromId, toId: this.nextId, moves };
  }

  takeId(): number {
    // Ids may be skipped.
    const id = this.nextId + (this.random.oneIn(15) ? 2 * this.random.below(5) : 0);
    this.nextId = id + 2;
    return id;
  }

  someFields(): Pair[] {
    const { random } = this;
    const fields: Pair[] = [
      [':method', random.pick(['GET', 'POST', 'POST', 'OPTIONS'])],
      [':scheme', random.pick(['http', 'https'])],
      [':path', random.pick(['/', '/a.B/C', '/x?y=z'])],
      [':authority', random.pick(['www.example.com', 'x', 'localhost:80'])],
    ];
    fields.sort(() => random.below(3) - 1);
    fields.push(...extraFields(random, ['te', 'trailers'], 'cookie'));
    return fields;
  }

  head(id: number, fields: readonly Pair[], endStream: boolean): Buffer[] {
    return headFrames(this.random, id, this.writer.block(fields), endStream);
  }

  data(id: number, text: string, endStream: boolean): Buffer {
    return dataFrame(this.random, id, text, endStream);
  }

  private end(id: number): Buffer {
    this.openIds = this.openIds.filter((open) => open !== id);
    return this.data(id, 'last', true);
  }

  private move(): readonly [string, Buffer[]] {
    const { random } = this;
    const open = this.openIds.length > 0 ? random.pick(this.openIds) : 0;
    const choice = random.below(100);
    if (choice < 22) return ['request', this.head(this.takeId(), this.someFields(), true)];
    if (choice < 45) return ['open request', this.openRequest()];
    if (choice < 60 && open > 0) return ['data', [this.data(open, 'd'.repeat(random.below(300)), false)]];
    if (choice < 64 && open > 0) return ['end', [this.end(open)]];
    if (choice < 70 && open > 0) return ['trailers', this.trailers(open)];
    if (choice < 73 && open > 0) return ['reset', this.reset(open)];
    if (choice < 85) return ['control', [controlFrame(random, open, this.nextId)]];
    return random.oneIn(2) ? illegalHeads(this) : illegalFrames(this, open);
  }

  private openRequest(): Buffer[] {
    const id = this.takeId();
    const fields = this.someFields();
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
}
