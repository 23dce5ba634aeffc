const HEAD_BYTES = 5;

/** What is wrong with a message stream. */
export type ScanProblem =
  | { readonly kind: 'too-large'; readonly messageBytes: number; readonly limitBytes: number }
  | { readonly kind: 'bad-flag'; readonly flag: number }
  | { readonly kind: 'too-many'; readonly limit: number };

/**
 * Follows the length-prefixed messages of one direction of a call (gRPC over HTTP/2, "Length-Prefixed-Message")
 * without looking into them: one byte of compression flag, four of length, then the message.
 */
export class MessageScanner {
  /** Messages that have begun. */
  messages = 0;
  readonly #limitBytes: number;
  readonly #messagesMax: number;
  #headBytes = 0;
  #length = 0;
  #flag = 0;
  #remaining = 0;

  /** @param messagesMax 1 for the side of a call that has one message, else Infinity */
  constructor(limitBytes: number, messagesMax: number) {
    this.#limitBytes = limitBytes;
    this.#messagesMax = messagesMax;
  }

  /** Whether the bytes so far end between two messages. */
  get atBoundary(): boolean {
    return this.#remaining === 0 && this.#headBytes === 0;
  }

  scan(chunk: Buffer, start: number, end: number): ScanProblem | null {
    let at = start;
    while (at < end) {
      if (this.#remaining > 0) {
        const taken = Math.min(this.#remaining, end - at);
        this.#remaining -= taken;
        at += taken;
        continue;
      }
      if (this.#headBytes === 0 && end - at >= HEAD_BYTES) {
        // The head is whole, as it nearly always is.
        this.#flag = chunk[at] as number;
        this.#length =
          (chunk[at + 1] as number) * 0x100_0000 +
          (((chunk[at + 2] as number) << 16) | ((chunk[at + 3] as number) << 8) | (chunk[at + 4] as number));
        at += HEAD_BYTES;
        const problem = this.#begin();
        if (problem) return problem;
        const taken = Math.min(this.#length, end - at);
        this.#remaining = this.#length - taken;
        at += taken;
        continue;
      }
      const byte = chunk[at] as number;
      at += 1;
      if (this.#headBytes === 0) {
        this.#flag = byte;
        this.#length = 0;
      } else {
        this.#length = this.#length * 256 + byte;
      }
      this.#headBytes += 1;
      if (this.#headBytes < HEAD_BYTES) continue;
      const problem = this.#begin();
      if (problem) return problem;
    }
    return null;
  }

  #begin(): ScanProblem | null {
    this.messages += 1;
    this.#headBytes = 0;
    this.#remaining = this.#length;
    if (this.#flag > 1) return { kind: 'bad-flag', flag: this.#flag };
    if (this.#length > this.#limitBytes) {
      return { kind: 'too-large', messageBytes: this.#length, limitBytes: this.#limitBytes };
    }
    return this.messages > this.#messagesMax ? { kind: 'too-many', limit: this.#messagesMax } : null;
  }
}
