/** A header block spread over HEADERS and CONTINUATION frames (RFC 9113 §4.3), within limits (CVE-2024-27316). */
export interface HeaderBlockLimits {
  readonly headerListBytesMax: number;
  readonly continuationFramesMax: number;
}

/** A block may be longer than the list it may hold, so that a list somewhat too large costs its stream alone. */
const BLOCK_TO_LIST_MAX = 4;
const NOTHING: Buffer = Buffer.alloc(0);

export class HeaderBlock {
  /** The stream whose block is open, 0 when none is. */
  streamId = 0;
  endStream = false;
  selfDependent = false;
  /** Blocks begun so far: tells a block that lasts from the next one. */
  begun = 0;
  /** Bytes collected: `bytes[0, length)`. */
  bytes: Buffer = NOTHING;
  length = 0;
  private continuations = 0;
  private readonly limits: HeaderBlockLimits;

  constructor(limits: HeaderBlockLimits) {
    this.limits = limits;
  }

  begin(streamId: number, endStream: boolean): void {
    this.streamId = streamId;
    this.endStream = endStream;
    this.selfDependent = false;
    this.begun++;
    this.length = 0;
    this.continuations = 0;
  }

  /** Counts a CONTINUATION frame; false when there are too many. */
  continues(): boolean {
    this.continuations++;
    return this.continuations <= this.limits.continuationFramesMax;
  }

  fits(bytes: number): boolean {
    return this.length + bytes <= BLOCK_TO_LIST_MAX * this.limits.headerListBytesMax;
  }

  append(fragment: Buffer, start: number, end: number): void {
    const length = this.length + end - start;
    if (length > this.bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.bytes.length));
      this.bytes.copy(grown, 0, 0, this.length);
      this.bytes = grown;
    }
    fragment.copy(this.bytes, this.length, start, end);
    this.length = length;
  }

  /** The block is whole; its memory is let go. */
  done(): void {
    this.streamId = 0;
    this.bytes = NOTHING;
    this.length = 0;
  }
}
