/** The two clients that are told the same: ours and the one of node:http2. */
import * as http2 from 'node:http2';
import { PREFACE } from '../../../src/http2/frame-types.ts';
import {
  Connection,
  type Field,
  field,
  type Stream,
  type StreamHandler,
  type StreamReset,
} from '../../../src/http2/index.ts';
import type { Method } from './responses.ts';
import { emptyOutcome, FUZZ_SETTINGS, type Subject, textOf, Wire } from './subjects.ts';

const CANCEL = 8;

/** A side that asks. */
export interface Client extends Subject {
  /** Begins a request for each method, in order. */
  ask(methods: readonly Method[]): void;
}

/** Our client. */
export class OurClient implements Client, StreamHandler {
  readonly outcome = emptyOutcome();
  private readonly wire = new Wire(this.outcome, PREFACE.length);
  private readonly connection: Connection;
  private open: Stream[] = [];

  constructor() {
    this.connection = Connection.client(
      this.wire,
      { onClose() {}, onViolation: (_connection, kind) => this.outcome.violations.push(kind) },
      FUZZ_SETTINGS,
    );
  }

  ask(methods: readonly Method[]): void {
    for (const method of methods) {
      const stream = this.connection.openStream(this);
      if (stream === null) continue;
      this.open.push(stream);
      const head = { ':method': method, ':scheme': 'http', ':path': '/', ':authority': 'localhost' };
      stream.sendHeaders(
        Object.entries(head).map(([name, value]) => field(name, value)),
        method !== 'POST',
      );
    }
  }

  input(chunk: Buffer): void {
    // A connection moves bytes in what it has read, and the oracle is told the same bytes.
    this.wire.push(Buffer.from(chunk));
  }

  answer(): void {
    for (const stream of this.open) stream.reset(CANCEL);
    this.open = [];
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
    } else {
      seen.trailers = text;
      seen.complete = endStream;
    }
  }

  onData(...[stream, chunk, start, end, endStream]: Parameters<StreamHandler['onData']>): void {
    const seen = this.outcome.seen.get(stream.id);
    if (seen === undefined) throw new Error('data before a head');
    seen.body += chunk.toString('latin1', start, end);
    seen.complete = endStream;
    stream.consume(end - start);
  }

  onSent(): void {}

  onReset(stream: Stream, { code }: StreamReset): void {
    this.outcome.resets.set(stream.id, code);
  }
}

/** The client of node:http2. */
export class OracleClient implements Client {
  readonly outcome = emptyOutcome();
  private readonly wire = new Wire(this.outcome, PREFACE.length);
  private readonly session: http2.ClientHttp2Session;
  private open: http2.ClientHttp2Stream[] = [];

  constructor() {
    this.session = http2.connect('http://localhost', {
      createConnection: () => this.wire,
      settings: { enablePush: false },
    });
    this.session.on('error', () => {});
  }

  ask(methods: readonly Method[]): void {
    if (this.session.closed || this.session.destroyed) return;
    for (const method of methods)
      this.listen(
        this.session.request({ ':method': method, ':path': '/' }, { endStream: method !== 'POST' }),
      );
  }

  input(chunk: Buffer): void {
    this.wire.push(chunk);
  }

  answer(): void {
    for (const stream of this.open) stream.close(CANCEL);
    this.open = [];
  }

  close(): void {
    this.session.destroy();
    this.wire.destroy();
  }

  private listen(stream: http2.ClientHttp2Stream): void {
    this.open.push(stream);
    const seen = { fields: '', body: '', trailers: '', complete: false };
    stream.on('error', () => {});
    stream.on('response', (_headers: unknown, _flags: unknown, raw: readonly string[]) => {
      seen.fields = textOf(raw);
      this.outcome.seen.set(stream.id as number, seen);
    });
    stream.on('data', (chunk: Buffer) => {
      seen.body += chunk.toString('latin1');
    });
    stream.on('trailers', (_trailers: unknown, _flags: unknown, raw: readonly string[]) => {
      seen.trailers = textOf(raw);
    });
    // It says nothing on the wire when a response that is malformed was its last frame.
    stream.on('close', () => {
      if (stream.rstCode !== 0 && stream.id !== undefined) this.outcome.resets.set(stream.id, stream.rstCode);
    });
    stream.on('end', () => {
      seen.complete = !stream.aborted && stream.rstCode === 0;
    });
  }
}
