/** What one server says to a client, legal and illegal, from random numbers alone. */
import { FrameType } from '../../../src/http2/frame-types.ts';
import { frame, uint32 } from '../../../src/http2/raw-peer.ts';
import type { Random } from '../support/random.ts';
import type { Conversation, Speaker } from './conversation.ts';
import { extraFields } from './extra-fields.ts';
import { asSent, controlFrame, dataFrame, headFrames } from './frames.ts';
import { HeaderWriter, type Pair } from './header-writer.ts';
import { illegalFrames } from './illegal-frames.ts';
import { instead, SPOILED_FIELDS, type Spoil, without } from './illegal-heads.ts';

/** `HEAD` ends with its head, `POST` stays open. */
export type Method = 'GET' | 'HEAD' | 'POST';

/** What the client asks first, and what it is answered. */
export type Exchange = Conversation & { readonly requests: readonly Method[] };

/** Responses that RFC 9113 §8.3.2 and §8.1.1 call malformed. */
const SPOILS: Readonly<Record<string, Spoil>> = {
  ...SPOILED_FIELDS,
  'no :status': without(':status'),
  'two :status': (fields) => [[':status', '200'], ...fields],
  ':status of two digits': instead(':status', '20'),
  ':status of letters': instead(':status', 'abc'),
  ':status of four digits': instead(':status', '2000'),
  ':path in a response': (fields) => [[':path', '/'], ...fields],
  'unknown pseudo-header': (fields) => [[':x', 'y'], ...fields],
  'pseudo-header after a field': (fields) => [['x-a', 'b'], ...fields],
  'content-length without a body': (fields) => [
    ...instead(':status', '200')(fields),
    ['content-length', '5'],
  ],
  'informational with an end': instead(':status', '103'),
  'switching protocols': instead(':status', '101'),
  // Of 204 node:http2 takes it away.
  'a length with no content': (fields) => [...instead(':status', '304')(fields), ['content-length', '5']],
};
const SPOIL_NAMES = Object.keys(SPOILS);
const ID_STEP = 2;

/** One connection's server: it keeps the ids that the client has used, and the HPACK table. */
export class Answerer implements Speaker {
  readonly random: Random;
  readonly writer: HeaderWriter;
  nextId = 1;
  fromId = 1;
  /** Streams that wait for their head. */
  private asked: number[] = [];
  /** Streams whose head has been sent and whose end has not. */
  private answering: number[] = [];

  constructor(random: Random) {
    this.random = random;
    this.writer = new HeaderWriter(random);
  }

  next(): Exchange {
    const { random } = this;
    const requests = Array.from({ length: 1 + random.below(3) }, () =>
      random.pick<Method>(['GET', 'GET', 'HEAD', 'POST']),
    );
    this.fromId = this.nextId;
    this.asked = requests.map((_, i) => this.fromId + ID_STEP * i);
    this.answering = [];
    this.nextId += ID_STEP * requests.length;
    const moves: string[] = requests.map((method) => `asked ${method}`);
    const frames: Buffer[] = [];
    const count = 1 + random.below(6);
    for (let i = 0; i < count; i++) {
      const [name, bytes] = this.move();
      moves.push(name);
      frames.push(...bytes);
    }
    // What still waits is answered or cancelled here, so that the next exchange begins with nothing open.
    for (const id of this.asked) frames.push(...this.conclude(id, false, moves));
    for (const id of this.answering) frames.push(...this.conclude(id, true, moves));
    const chunks = asSent(random, frames, moves, this.nextId);
    return { requests, chunks, fromId: this.fromId, toId: this.nextId, moves };
  }

  takeId(): number {
    const id = this.asked.shift();
    return id ?? this.nextId;
  }

  someFields(): Pair[] {
    const { random } = this;
    const fields: Pair[] = [[':status', random.pick(['200', '200', '200', '204', '304', '404'])]];
    fields.push(...extraFields(random, ['content-type', 'application/grpc'], 'set-cookie'));
    return fields;
  }

  head(id: number, fields: readonly Pair[], endStream: boolean): Buffer[] {
    return headFrames(this.random, id, this.writer.block(fields), endStream);
  }

  data(id: number, text: string, endStream: boolean): Buffer {
    return dataFrame(this.random, id, text, endStream);
  }

  private move(): readonly [string, Buffer[]] {
    const { random } = this;
    const open = this.answering.length > 0 ? random.pick(this.answering) : 0;
    const choice = random.below(100);
    if (choice < 15 && this.asked.length > 0)
      return ['answer', this.head(this.takeId(), this.someFields(), true)];
    if (choice < 40 && this.asked.length > 0) return ['open answer', this.openAnswer()];
    if (choice < 46 && this.asked.length > 0) return ['informational', this.informational()];
    if (choice < 60 && open > 0) return ['data', [this.data(open, 'd'.repeat(random.below(300)), false)]];
    if (choice < 64 && open > 0) return ['end', [this.end(open)]];
    if (choice < 70 && open > 0) return ['trailers', this.trailers(open)];
    if (choice < 73 && open > 0) return ['reset', this.reset(open)];
    if (choice < 85) return ['control', [controlFrame(random, open, this.nextId)]];
    return random.oneIn(2) ? this.illegalHead() : this.illegalFrame(open);
  }

  private openAnswer(): Buffer[] {
    const id = this.takeId();
    if (this.random.oneIn(8)) {
      const text = 'b'.repeat(this.random.below(50));
      const fields = instead(':status', '200')(this.someFields());
      return [
        ...this.head(id, [...fields, ['content-length', String(text.length)]], false),
        this.data(id, text, true),
      ];
    }
    this.answering.push(id);
    return this.head(id, this.someFields(), false);
  }

  private informational(): Buffer[] {
    const status = this.random.pick(['100', '103', '150']);
    return this.head(
      this.random.pick(this.asked),
      [
        [':status', status],
        ['x-early', 'hint'],
      ],
      false,
    );
  }

  private illegalHead(): readonly [string, Buffer[]] {
    const name = this.random.pick(SPOIL_NAMES);
    return [name, this.head(this.takeId(), (SPOILS[name] as Spoil)(this.someFields()), true)];
  }

  private illegalFrame(open: number): readonly [string, Buffer[]] {
    const { random } = this;
    switch (random.below(8)) {
      case 0:
        return ['ENABLE_PUSH from a server', [frame(FrameType.SETTINGS, 0, 0, [0, 2, 0, 0, 0, 1])]];
      case 1:
        return ['DATA before a head', [this.data(this.takeId(), 'early', random.oneIn(2))]];
      case 2:
        return ['another head', open > 0 ? this.head(open, this.someFields(), random.oneIn(2)) : []];
      default:
        return illegalFrames(this, open);
    }
  }

  private conclude(id: number, isAnswering: boolean, moves: string[]): Buffer[] {
    if (this.random.oneIn(3)) {
      moves.push('cancel');
      return [frame(FrameType.RST_STREAM, 0, id, uint32(8))];
    }
    return isAnswering ? [this.data(id, 'last', true)] : this.head(id, this.someFields(), true);
  }

  private end(id: number): Buffer {
    this.answering = this.answering.filter((open) => open !== id);
    return this.data(id, 'last', true);
  }

  private trailers(id: number): Buffer[] {
    this.answering = this.answering.filter((open) => open !== id);
    return this.head(id, [['x-trailer', 't'.repeat(this.random.below(9))]], true);
  }

  /** Not with NO_ERROR: to node:http2 that is an end like any other. */
  private reset(id: number): Buffer[] {
    this.answering = this.answering.filter((open) => open !== id);
    return [frame(FrameType.RST_STREAM, 0, id, uint32(1 + this.random.below(19)))];
  }
}
