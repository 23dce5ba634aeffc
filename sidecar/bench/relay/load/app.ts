import { createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import type { AnswerFrames } from './answers.ts';
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

const STREAMS_MAX = 4096;

/** The app behind the proxies: answers every call, without looking at it, by the plan in force. */
export class App {
  answer: AnswerFrames;
  readonly #connections = new Set<AppConnection>();

  constructor(answer: AnswerFrames) {
    this.answer = answer;
  }

  listen(): Server {
    return createServer({ noDelay: true }, (socket) => this.serve(socket));
  }

  serve(socket: Duplex): void {
    const connection = new AppConnection(socket, this);
    this.#connections.add(connection);
    socket.on('close', () => this.#connections.delete(connection));
  }
}

/** An answer that is not out yet. */
type Pending = {
  readonly id: number;
  readonly frames: AnswerFrames;
  message: number;
  piece: number;
  released: number;
  window: number;
};

class AppConnection implements FrameSink {
  readonly #app: App;
  readonly #output: Output;
  readonly #scanner: FrameScanner;
  readonly #pending = new Map<number, Pending>();
  readonly #timers = new Map<number, NodeJS.Timeout>();
  #window = WINDOW_BYTES_INITIAL;
  #streamWindow = WINDOW_BYTES_INITIAL;
  #received = 0;
  #tableAllowed = true;
  #tableFilled = false;

  constructor(socket: Duplex, app: App) {
    this.#app = app;
    this.#output = new Output(socket);
    this.#scanner = new FrameScanner(this, PREFACE.length);
    this.#output.write(
      settings([
        [Setting.MAX_CONCURRENT_STREAMS, STREAMS_MAX],
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
      for (const timer of this.#timers.values()) clearInterval(timer);
    });
  }

  onFrame(type: number, flags: number, streamId: number, payloadBytes: number): void {
    if (type === FrameType.DATA && payloadBytes > 0) this.#credit(payloadBytes);
    if (type <= FrameType.HEADERS) {
      if ((flags & Flag.END_STREAM) !== 0) this.#answer(streamId);
    } else if (type === FrameType.WINDOW_UPDATE) this.#widen(streamId, this.#scanner.payload.readUInt32BE(0));
    else if (type === FrameType.SETTINGS && (flags & Flag.ACK) === 0) this.#takeSettings();
    else if (type === FrameType.PING && (flags & Flag.ACK) === 0) {
      this.#output.write(frame([FrameType.PING, Flag.ACK, 0], this.#scanner.payload), -1);
    } else if (type === FrameType.RST_STREAM) this.#forget(streamId);
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
      const value = payload.readUInt32BE(at + 2);
      const id = payload.readUInt16BE(at);
      if (id === Setting.INITIAL_WINDOW_SIZE) this.#streamWindow = value;
      if (id === Setting.HEADER_TABLE_SIZE && value < 256) this.#tableAllowed = false;
    }
    this.#output.write(SETTINGS_ACK, -1);
  }

  #answer(id: number): void {
    const frames = this.#app.answer;
    this.#writeHead(id, frames);
    const { plan } = frames;
    if (
      plan.everyMs === 0 &&
      this.#pending.size === 0 &&
      frames.dataBytes <= Math.min(this.#window, this.#streamWindow)
    ) {
      for (let i = 0; i < plan.messages; i++)
        for (const piece of frames.message) this.#output.write(piece, id);
      this.#window -= frames.dataBytes;
      this.#writeTrailers(id, frames);
      return;
    }
    const pending: Pending = {
      id,
      frames,
      message: 0,
      piece: 0,
      released: plan.everyMs === 0 ? plan.messages : 1,
      window: this.#streamWindow,
    };
    this.#pending.set(id, pending);
    if (plan.everyMs > 0) this.#pace(pending);
    this.#pump(pending);
  }

  #pace(pending: Pending): void {
    const { everyMs } = pending.frames.plan;
    const release = (): void => {
      pending.released += 1;
      this.#pump(pending);
      this.#output.flush();
    };
    // Streams that begin together do not keep step.
    const phaseMs = (pending.id >>> 1) % everyMs;
    const start = (): void => {
      this.#timers.set(pending.id, setInterval(release, everyMs));
    };
    this.#timers.set(pending.id, setTimeout(start, phaseMs));
  }

  #pump(pending: Pending): void {
    const { frames, id } = pending;
    while (pending.message < pending.released) {
      const piece = frames.message[pending.piece] as Buffer;
      const bytes = piece.length - FRAME_HEAD_BYTES;
      if (bytes > this.#window || bytes > pending.window) return;
      this.#output.write(piece, id);
      this.#window -= bytes;
      pending.window -= bytes;
      pending.piece += 1;
      if (pending.piece < frames.message.length) continue;
      pending.piece = 0;
      pending.message += 1;
      if (pending.message < frames.plan.messages) continue;
      this.#forget(id);
      this.#writeTrailers(id, frames);
      return;
    }
  }

  #forget(id: number): void {
    clearInterval(this.#timers.get(id));
    this.#timers.delete(id);
    this.#pending.delete(id);
  }

  #widen(streamId: number, increment: number): void {
    if (streamId === 0) {
      this.#window += increment;
      for (const pending of this.#pending.values()) this.#pump(pending);
      return;
    }
    const pending = this.#pending.get(streamId);
    if (pending === undefined) return;
    pending.window += increment;
    this.#pump(pending);
  }

  #writeHead(id: number, frames: AnswerFrames): void {
    if (!this.#tableAllowed) this.#output.write(frames.headPlain, id);
    else this.#output.write(this.#tableFilled ? frames.headAgain : frames.headFirst, id);
  }

  /** With the first trailers the table is as the `again` blocks expect it; a head before that brings its fields anew. */
  #writeTrailers(id: number, frames: AnswerFrames): void {
    if (!this.#tableAllowed) this.#output.write(frames.trailersPlain, id);
    else this.#output.write(this.#tableFilled ? frames.trailersAgain : frames.trailersFirst, id);
    if (this.#tableAllowed) this.#tableFilled = true;
  }
}
