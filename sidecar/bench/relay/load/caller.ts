import type { Duplex } from 'node:stream';
import type { CallFrames } from './call-frames.ts';
import { FrameScanner, type FrameSink } from './frame-scanner.ts';
import {
  CONNECTION_WINDOW_BYTES,
  Flag,
  FRAME_HEAD_BYTES,
  FrameType,
  frame,
  PREFACE,
  SETTINGS_ACK,
  Setting,
  STREAM_WINDOW_BYTES,
  settings,
  WINDOW_BYTES_INITIAL,
  windowUpdate,
} from './frames.ts';
import { Output } from './output.ts';

/** Start times are kept by stream id in a ring: far more than may be open at once. */
const RING = 16_384;
/** Until the peer's SETTINGS tell. */
const STREAMS_MAX_INITIAL = 100;

/** What the callers of one cell have seen. */
export class Tally {
  /** Bytes of answers. */
  dataBytes = 0;
  /** What went wrong, and how often. */
  readonly failures = new Map<string, number>();
  /** Milliseconds from a call's due time to its end. */
  readonly latenciesMs: number[] = [];
  keepLatencies = false;

  fail(kind: string, count = 1): void {
    this.failures.set(kind, (this.failures.get(kind) ?? 0) + count);
  }
}

/** One connection that makes calls. Call `start` for each; `onDone` tells of each end. */
export class Caller implements FrameSink {
  readonly #socket: Duplex;
  readonly #output: Output;
  readonly #scanner: FrameScanner;
  readonly #frames: CallFrames;
  readonly #tally: Tally;
  readonly #answerBytes: number;
  readonly #startedMs = new Float64Array(RING);
  readonly #backlog: number[] = [];
  #nextId = 1;
  #window = WINDOW_BYTES_INITIAL;
  #streamsMax = STREAMS_MAX_INITIAL;
  #open = 0;
  #received = 0;
  #dataBytes = 0;
  #ended = 0;
  #closing = false;
  /** Closed loop: each call that ends makes room for the next. */
  repeat = false;
  onReady: () => void = () => {};

  constructor(
    socket: Duplex,
    frames: CallFrames,
    expected: { readonly tally: Tally; readonly answerBytes: number },
  ) {
    this.#socket = socket;
    this.#frames = frames;
    this.#tally = expected.tally;
    this.#answerBytes = expected.answerBytes;
    this.#output = new Output(socket);
    this.#scanner = new FrameScanner(this, 0);
    this.#output.write(PREFACE, -1);
    this.#output.write(
      settings([
        [2, 0],
        [Setting.INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES],
      ]),
      -1,
    );
    this.#output.write(windowUpdate(0, CONNECTION_WINDOW_BYTES - WINDOW_BYTES_INITIAL), -1);
    this.#output.flush();
    socket.on('data', (chunk: Buffer) => {
      this.#scanner.read(chunk);
      this.#output.flush();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (!this.#closing) this.#tally.fail('connection closed', this.#open + 1);
    });
  }

  /** @param dueMs when the call should begin, on performance.now()'s scale; it waits when the peer allows no more */
  start(dueMs: number): void {
    if (this.#open >= this.#streamsMax || this.#window < this.#frames.data.length) {
      this.#backlog.push(dueMs);
      return;
    }
    const id = this.#nextId;
    this.#nextId += 2;
    this.#open += 1;
    this.#startedMs[(id >>> 1) % RING] = dueMs;
    this.#output.write(id === 1 ? this.#frames.first : this.#frames.again, id);
    this.#output.write(this.#frames.data, id);
    this.#window -= this.#frames.data.length - FRAME_HEAD_BYTES;
  }

  flush(): void {
    this.#output.flush();
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    // Answers are checked in sum: a refusal brings no DATA.
    if (this.#open === 0 && this.#dataBytes !== this.#ended * this.#answerBytes)
      this.#tally.fail('answers of a wrong size');
    this.#socket.destroy();
  }

  get open(): number {
    return this.#open;
  }

  onFrame(type: number, flags: number, streamId: number, payloadBytes: number): void {
    if (type === FrameType.DATA) {
      this.#dataBytes += payloadBytes;
      this.#tally.dataBytes += payloadBytes;
      this.#credit(payloadBytes);
    }
    if (type <= FrameType.HEADERS) {
      if ((flags & Flag.END_STREAM) !== 0) this.#finish(streamId);
    } else if (type === FrameType.WINDOW_UPDATE) {
      if (streamId !== 0) return;
      this.#window += this.#scanner.payload.readUInt32BE(0);
      this.#startBacklog();
    } else if (type === FrameType.SETTINGS && (flags & Flag.ACK) === 0) this.#takeSettings();
    else if (type === FrameType.PING && (flags & Flag.ACK) === 0) {
      this.#output.write(frame([FrameType.PING, Flag.ACK, 0], this.#scanner.payload), -1);
    } else if (type === FrameType.RST_STREAM && !this.#closing) {
      this.#tally.fail(`RST_STREAM ${this.#scanner.payload.readUInt32BE(0)}`);
      this.#open -= 1;
    } else if (type === FrameType.GOAWAY && !this.#closing) {
      this.#tally.fail(`GOAWAY ${this.#scanner.payload.subarray(4).toString('latin1')}`);
    }
  }

  #finish(streamId: number): void {
    const tally = this.#tally;
    this.#open -= 1;
    this.#ended += 1;
    if (tally.keepLatencies) {
      tally.latenciesMs.push(performance.now() - (this.#startedMs[(streamId >>> 1) % RING] as number));
    }
    if (this.repeat) this.start(0);
    else this.#startBacklog();
  }

  #startBacklog(): void {
    while (
      this.#backlog.length > 0 &&
      this.#open < this.#streamsMax &&
      this.#window >= this.#frames.data.length
    ) {
      this.start(this.#backlog.shift() as number);
    }
  }

  #credit(bytes: number): void {
    this.#received += bytes;
    if (this.#received < CONNECTION_WINDOW_BYTES / 2) return;
    this.#output.write(windowUpdate(0, this.#received), -1);
    this.#received = 0;
  }

  #takeSettings(): void {
    const { payload } = this.#scanner;
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      if (payload.readUInt16BE(at) === Setting.MAX_CONCURRENT_STREAMS)
        this.#streamsMax = payload.readUInt32BE(at + 2);
    }
    this.#output.write(SETTINGS_ACK, -1);
    this.onReady();
    this.onReady = () => {};
  }
}
