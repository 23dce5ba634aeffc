import { FRAME_HEAD_BYTES, FrameType } from './frames.ts';

export type FrameSink = {
  /** A frame that has come whole. Its payload is in `scanner.payload`, for frames other than DATA and HEADERS alone. */
  onFrame(type: number, flags: number, streamId: number, payloadBytes: number): void;
};

/** Finds the frames in a connection's input; it trusts the peer, which is a proxy under test. */
export class FrameScanner {
  payload: Buffer = Buffer.alloc(0);
  readonly #sink: FrameSink;
  readonly #head = Buffer.alloc(FRAME_HEAD_BYTES);
  #headBytes = 0;
  #left = 0;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  #size = 0;
  /** Bytes of a connection preface to pass over. */
  #skip: number;

  constructor(sink: FrameSink, skipBytes: number) {
    this.#sink = sink;
    this.#skip = skipBytes;
  }

  read(chunk: Buffer): void {
    let at = Math.min(this.#skip, chunk.length);
    this.#skip -= at;
    while (at < chunk.length) {
      if (this.#left > 0) {
        at = this.#takePayload(chunk, at);
        continue;
      }
      if (this.#headBytes === 0 && chunk.length - at >= FRAME_HEAD_BYTES) {
        this.#begin(chunk, at);
        at += FRAME_HEAD_BYTES;
      } else {
        const count = Math.min(FRAME_HEAD_BYTES - this.#headBytes, chunk.length - at);
        chunk.copy(this.#head, this.#headBytes, at, at + count);
        this.#headBytes += count;
        at += count;
        if (this.#headBytes < FRAME_HEAD_BYTES) return;
        this.#headBytes = 0;
        this.#begin(this.#head, 0);
      }
      if (this.#size === 0) this.#sink.onFrame(this.#type, this.#flags, this.#streamId, 0);
    }
  }

  #begin(bytes: Buffer, at: number): void {
    this.#size = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
    this.#type = bytes[at + 3] as number;
    this.#flags = bytes[at + 4] as number;
    this.#streamId =
      (((bytes[at + 5] as number) & 0x7f) << 24) |
      ((bytes[at + 6] as number) << 16) |
      ((bytes[at + 7] as number) << 8) |
      (bytes[at + 8] as number);
    this.#left = this.#size;
    if (this.#type > FrameType.HEADERS) this.payload = Buffer.allocUnsafe(this.#size);
  }

  #takePayload(chunk: Buffer, at: number): number {
    const count = Math.min(this.#left, chunk.length - at);
    if (this.#type > FrameType.HEADERS) chunk.copy(this.payload, this.#size - this.#left, at, at + count);
    this.#left -= count;
    if (this.#left === 0) this.#sink.onFrame(this.#type, this.#flags, this.#streamId, this.#size);
    return at + count;
  }
}
