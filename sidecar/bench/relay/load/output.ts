import type { Duplex } from 'node:stream';

const BYTES_INITIAL = 32_768;

/** What one connection writes in a turn, joined into one write. */
export class Output {
  readonly #socket: Duplex;
  #bytes: Buffer = Buffer.allocUnsafeSlow(BYTES_INITIAL);
  #length = 0;

  constructor(socket: Duplex) {
    this.#socket = socket;
  }

  /** @param streamId set into the frame's head; negative leaves it as it is */
  write(frame: Buffer, streamId: number): void {
    const at = this.#length;
    if (at + frame.length > this.#bytes.length) this.#grow(frame.length);
    const bytes = this.#bytes;
    if (frame.length < 64) for (let i = 0; i < frame.length; i++) bytes[at + i] = frame[i] as number;
    else bytes.set(frame, at);
    this.#length = at + frame.length;
    if (streamId < 0) return;
    bytes[at + 5] = streamId >>> 24;
    bytes[at + 6] = streamId >>> 16;
    bytes[at + 7] = streamId >>> 8;
    bytes[at + 8] = streamId;
  }

  flush(): void {
    if (this.#length === 0) return;
    this.#socket.write(Buffer.from(this.#bytes.subarray(0, this.#length)));
    this.#length = 0;
  }

  #grow(count: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#length + count));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}
