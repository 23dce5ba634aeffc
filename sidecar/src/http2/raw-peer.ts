/** For tests: a peer that writes and reads single frames, and a recorder of what a Connection tells its owner. */
import { type Duplex, duplexPair } from 'node:stream';
import { Connection, type ConnectionClose, type ConnectionHandler } from './connection.ts';
import type { Field } from './field.ts';
import { Flag, FRAME_HEAD_BYTES, FrameType, PREFACE } from './frame-types.ts';
import { HpackDecoder } from './hpack-decoder.ts';
import { type ConnectionSettings, defaultSettings } from './settings.ts';
import type { Stream, StreamHandler, StreamReset } from './stream.ts';

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export function frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Buffer | number[] = [],
): Buffer {
  const body = Buffer.from(payload);
  const bytes = Buffer.alloc(FRAME_HEAD_BYTES + body.length);
  bytes.writeUIntBE(body.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(streamId, 5);
  body.copy(bytes, FRAME_HEAD_BYTES);
  return bytes;
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export type FieldPairs = readonly (readonly [name: string, value: string])[];

/** Literals without indexing and without Huffman code; strings under 127 bytes. */
export function literals(fields: FieldPairs): Buffer {
  return Buffer.concat(
    fields.flatMap(([name, value]) => [
      Buffer.from([0, name.length]),
      Buffer.from(name, 'latin1'),
      Buffer.from([value.length]),
      Buffer.from(value, 'latin1'),
    ]),
  );
}

export const REQUEST: FieldPairs = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/a.B/C'],
  [':authority', 'x'],
];
export const RESPONSE: FieldPairs = [[':status', '200']];
export const SETTINGS: Buffer = frame(FrameType.SETTINGS, 0, 0);
export const SETTINGS_ACK: Buffer = frame(FrameType.SETTINGS, Flag.ACK, 0);
export const END = Flag.END_STREAM | Flag.END_HEADERS;

export function headers(streamId: number, flags: number, fields: FieldPairs = REQUEST): Buffer {
  return frame(FrameType.HEADERS, flags, streamId, literals(fields));
}

export function data(streamId: number, flags: number, text: string | Buffer): Buffer {
  return frame(FrameType.DATA, flags, streamId, Buffer.from(text));
}

/** Writes down what happens as lines, one per event; data of one stream in a row becomes one line. */
export class Recorder implements StreamHandler, ConnectionHandler {
  readonly lines: string[] = [];
  readonly streams: Stream[] = [];
  consumes = true;
  close: ConnectionClose | null = null;

  onStream(stream: Stream): StreamHandler {
    this.streams.push(stream);
    return this;
  }

  onHeaders(stream: Stream, fields: readonly Field[], endStream: boolean): void {
    const list = fields.map((field) => `${field.name}=${field.value}`).join(' ');
    this.lines.push(`headers ${stream.id} ${list}${endStream ? ' end' : ''}`);
  }

  onData(stream: Stream, chunk: Buffer, start: number, end: number, endStream: boolean): void {
    const text = chunk.toString('latin1', start, end);
    const last = this.lines.length - 1;
    const begins = `data ${stream.id} `;
    if (this.lines[last]?.startsWith(begins) === true) this.lines[last] += text;
    else this.lines.push(begins + text);
    if (endStream) this.lines.push(`data-end ${stream.id}`);
    if (this.consumes) stream.consume(end - start);
  }

  onSent(stream: Stream, bytes: number): void {
    this.lines.push(`sent ${stream.id} ${bytes}`);
  }

  onReset(stream: Stream, reset: StreamReset): void {
    this.lines.push(`reset ${stream.id} ${reset.code} ${reset.origin} ${reset.processed}`);
  }

  onEnd(stream: Stream): void {
    this.lines.push(`end ${stream.id}`);
  }

  onGoaway(_connection: Connection, code: number, debug: string): void {
    this.lines.push(`goaway ${code} ${debug}`);
  }

  onClose(_connection: Connection, reason: ConnectionClose): void {
    this.close = reason;
    this.lines.push(`close ${reason.code} ${reason.origin}`);
  }

  onWritable(): void {
    this.lines.push('writable');
  }

  onViolation(_connection: Connection, kind: string): void {
    this.lines.push(`violation ${kind}`);
  }
}

/** A connection under test, and the raw end of its socket. */
export class RawPeer {
  readonly recorder = new Recorder();
  readonly connection: Connection;
  readonly socket: Duplex;
  /** Frames the connection has written, in order; a client's preface removed. */
  readonly frames: Frame[] = [];
  /** The connection has ended its side. */
  ended = false;
  private rest: Buffer = Buffer.alloc(0);
  private prefaceLeft: number;

  constructor(role: 'server' | 'client', settings: Partial<ConnectionSettings> = {}) {
    const [ours, theirs] = duplexPair();
    this.socket = theirs;
    this.prefaceLeft = role === 'client' ? PREFACE.length : 0;
    theirs.on('data', (chunk: Buffer) => this.read(chunk));
    theirs.on('end', () => {
      this.ended = true;
    });
    theirs.on('error', () => {});
    this.connection = Connection[role](ours, this.recorder, { ...defaultSettings, ...settings });
  }

  /** A server that has the client's preface and SETTINGS already, and their acknowledgement. */
  static server(settings: Partial<ConnectionSettings> = {}): RawPeer {
    const peer = new RawPeer('server', settings);
    peer.input(PREFACE, SETTINGS, SETTINGS_ACK);
    return peer;
  }

  /** A client that has the server's SETTINGS already, and their acknowledgement. */
  static client(settings: Partial<ConnectionSettings> = {}): RawPeer {
    const peer = new RawPeer('client', settings);
    peer.input(SETTINGS, SETTINGS_ACK);
    return peer;
  }

  /** Gives bytes to the connection, in the call itself. */
  input(...pieces: Buffer[]): void {
    const bytes = Buffer.concat(pieces);
    this.connection.receive(bytes, bytes.length);
  }

  /** Frames written of a type, and on a stream if one is given. */
  written(type: number, streamId?: number): Frame[] {
    return this.frames.filter((f) => f.type === type && (streamId === undefined || f.streamId === streamId));
  }

  /** Error code of the GOAWAY written last, or -1. */
  get goawayCode(): number {
    return this.written(FrameType.GOAWAY).at(-1)?.payload.readUInt32BE(4) ?? -1;
  }

  resetCode(streamId: number): number {
    return this.written(FrameType.RST_STREAM, streamId).at(-1)?.payload.readUInt32BE(0) ?? -1;
  }

  private read(chunk: Buffer): void {
    this.rest = Buffer.concat([this.rest, chunk]);
    if (this.rest.length < this.prefaceLeft) return;
    this.rest = this.rest.subarray(this.prefaceLeft);
    this.prefaceLeft = 0;
    while (this.rest.length >= FRAME_HEAD_BYTES) {
      const end = FRAME_HEAD_BYTES + this.rest.readUIntBE(0, 3);
      if (this.rest.length < end) return;
      this.frames.push({
        type: this.rest[3] as number,
        flags: this.rest[4] as number,
        streamId: this.rest.readUInt32BE(5),
        payload: this.rest.subarray(FRAME_HEAD_BYTES, end),
      });
      this.rest = this.rest.subarray(end);
    }
  }
}

/** Decodes one block with a fresh table, as `name=value` pairs. */
export function decodeBlock(block: Buffer): string[] {
  const decoder = new HpackDecoder(4096, { headerListBytesMax: 1_000_000, headerFieldsMax: 1_000 });
  decoder.decode(block, 0, block.length);
  return decoder.fields.map((field) => `${field.name}=${field.value}`);
}
