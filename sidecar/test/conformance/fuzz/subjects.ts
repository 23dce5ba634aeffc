/** The two servers that are told the same: ours and the one of node:http2. */
import * as http2 from 'node:http2';
import { Duplex } from 'node:stream';
import {
  Connection,
  type ConnectionSettings,
  defaultSettings,
  type Field,
  field,
  type Stream,
  type StreamHandler,
} from '../../../src/http2/index.ts';

/** What one side made of a request or response. */
export type Seen = {
  fields: string;
  body: string;
  trailers: string;
  /** Its end has been seen. */
  complete: boolean;
};

/** What one side made of a connection so far. */
export type Outcome = {
  readonly seen: Map<number, Seen>;
  /** Error codes by stream that this side has reset; for a client also of those that it lost. */
  readonly resets: Map<number, number>;
  /** The code of a GOAWAY that is an error, -1 when the connection just ended, null while it goes on. */
  connectionError: number | null;
  /** Kinds of violation that our side has counted. */
  readonly violations: string[];
};

export interface Subject {
  readonly outcome: Outcome;
  input(chunk: Buffer): void;
  /** Server: answers every request that is complete. Client: leaves every stream. */
  answer(): void;
  close(): void;
}

const MANY = { perSecond: 1e9, burst: 1e9 };
/** As node:http2's, so that both take the same; rates are without limit, because those of the two differ. */
export const FUZZ_SETTINGS: ConnectionSettings = {
  ...defaultSettings,
  initialStreamWindowBytes: 65_535,
  connectionWindowBytes: 65_535,
  resetsReceived: MANY,
  resetsProvoked: MANY,
  pings: MANY,
  settingsFrames: MANY,
  emptyDataFrames: MANY,
  idleFrames: MANY,
};
const OK = [field(':status', '200')];
const FRAME_HEAD_BYTES = 9;
const RST_STREAM = 3;
const GOAWAY = 7;

/** A socket's end in memory; what is written to it is read as frames. */
export class Wire extends Duplex {
  private readonly outcome: Outcome;
  private rest: Buffer = Buffer.alloc(0);
  /** Bytes before the first frame that have not come yet. */
  private prefaceBytes: number;

  /** @param prefaceBytes what is written before the first frame: a client's preface */
  constructor(outcome: Outcome, prefaceBytes = 0) {
    super({ allowHalfOpen: true });
    this.outcome = outcome;
    this.prefaceBytes = prefaceBytes;
    this.on('error', () => {});
    this.on('finish', () => this.ended());
    this.on('close', () => this.ended());
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const skipped = Math.min(this.prefaceBytes, this.rest.length);
    this.prefaceBytes -= skipped;
    this.rest = this.rest.subarray(skipped);
    while (this.rest.length >= FRAME_HEAD_BYTES) {
      const end = FRAME_HEAD_BYTES + this.rest.readUIntBE(0, 3);
      if (this.rest.length < end) break;
      const code = end >= 13 ? this.rest.readUInt32BE(end - 4) : 0;
      if (this.rest[3] === RST_STREAM) this.outcome.resets.set(this.rest.readUInt32BE(5), code);
      if (this.rest[3] === GOAWAY) this.goaway(this.rest.readUInt32BE(13));
      this.rest = this.rest.subarray(end);
    }
    done();
  }

  private goaway(code: number): void {
    if (code !== 0) this.outcome.connectionError = code;
  }

  private ended(): void {
    this.outcome.connectionError ??= -1;
  }
}

export function emptyOutcome(): Outcome {
  return { seen: new Map(), resets: new Map(), connectionError: null, violations: [] };
}

/** Our server. */
export class Ours implements Subject, StreamHandler {
  readonly outcome = emptyOutcome();
  private readonly wire = new Wire(this.outcome);
  private readonly connection: Connection;
  private readonly open = new Map<number, Stream>();

  constructor() {
    this.connection = Connection.server(
      this.wire,
      {
        onStream: () => this,
        onClose() {},
        onViolation: (_connection, kind) => this.outcome.violations.push(kind),
      },
      FUZZ_SETTINGS,
    );
  }

  input(chunk: Buffer): void {
    // A connection moves bytes in what it has read, and the oracle is told the same bytes.
    this.wire.push(Buffer.from(chunk));
  }

  answer(): void {
    for (const [id, stream] of this.open) {
      if (!this.outcome.seen.get(id)?.complete) continue;
      stream.sendHeaders(OK, true);
      this.open.delete(id);
    }
  }

  close(): void {
    this.connection.destroy(0, '');
    this.wire.destroy();
  }

  onHeaders(stream: Stream, fields: readonly Field[], endStream: boolean): void {
    const text = fields.map(({ name, value }) => `${name}: ${value}\n`).join('');
    const seen = this.outcome.seen.get(stream.id);
    if (seen === undefined) {
      this.outcome.seen.set(stream.id, { fields: text, body: '', trailers: '', complete: endStream });
      this.open.set(stream.id, stream);
    } else {
      seen.trailers = text;
      seen.complete = endStream;
    }
  }

  onData(...[stream, chunk, start, end, endStream]: Parameters<StreamHandler['onData']>): void {
    const seen = this.outcome.seen.get(stream.id) as Seen;
    seen.body += chunk.toString('latin1', start, end);
    seen.complete = endStream;
    stream.consume(end - start);
  }

  onSent(): void {}

  onReset(stream: Stream): void {
    this.open.delete(stream.id);
  }
}

/** The server of node:http2. */
export class Oracle implements Subject {
  readonly outcome = emptyOutcome();
  private readonly wire = new Wire(this.outcome);
  private readonly session: http2.ServerHttp2Session;
  private readonly open = new Map<number, http2.ServerHttp2Stream>();

  constructor() {
    this.session = http2.performServerHandshake(this.wire, {
      settings: { enablePush: false, maxConcurrentStreams: 1_024 },
    });
    this.session.on('error', () => {});
    this.session.on('stream', (stream, _headers, _flags, raw) => this.onStream(stream, raw));
  }

  input(chunk: Buffer): void {
    this.wire.push(chunk);
  }

  answer(): void {
    for (const [id, stream] of this.open) {
      if (!this.outcome.seen.get(id)?.complete) continue;
      if (!stream.destroyed && !stream.closed) stream.respond({ ':status': 200 }, { endStream: true });
      this.open.delete(id);
    }
  }

  close(): void {
    this.session.destroy();
    this.wire.destroy();
  }

  private onStream(stream: http2.ServerHttp2Stream, raw: readonly string[]): void {
    const seen: Seen = { fields: textOf(raw), body: '', trailers: '', complete: false };
    this.outcome.seen.set(stream.id as number, seen);
    this.open.set(stream.id as number, stream);
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => {
      seen.body += chunk.toString('latin1');
    });
    stream.on('trailers', (_trailers: unknown, _flags: unknown, rawTrailers: readonly string[]) => {
      seen.trailers = textOf(rawTrailers);
    });
    stream.on('end', () => {
      // An abort ends the stream too.
      seen.complete = !stream.aborted && stream.rstCode === 0;
    });
  }
}

/** @param raw names and values in turn */
export function textOf(raw: readonly string[]): string {
  let text = '';
  for (let i = 0; i < raw.length; i += 2) text += `${raw[i]}: ${raw[i + 1]}\n`;
  return text;
}
