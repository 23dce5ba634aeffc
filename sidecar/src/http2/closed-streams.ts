/** How recently closed streams ended, because late frames on them mean different things (RFC 9113 §5.1). */
export const Closing = {
  /** Longer ago than is remembered. */
  LONG_AGO: 0,
  /** Both sides ended it, or the peer reset it: more frames are the peer's error. */
  ENDED: 1,
  /** We reset it: frames already on the way are to be ignored. */
  RESET_HERE: 2,
  /** Within what is remembered, and never opened: its id was skipped. */
  NEVER_OPENED: 3,
} as const;

const REMEMBERED = 256;

export class ClosedStreams {
  // Per slot the stream id, and how it closed in the parallel array.
  private readonly ids = new Int32Array(REMEMBERED);
  private readonly closings = new Uint8Array(REMEMBERED);

  record(streamId: number, closing: number): void {
    const slot = (streamId >>> 1) & (REMEMBERED - 1);
    if ((this.ids[slot] as number) > streamId) return;
    this.ids[slot] = streamId;
    this.closings[slot] = closing;
  }

  /** @param newestId the highest stream id of this side so far */
  lookup(streamId: number, newestId: number): number {
    const slot = (streamId >>> 1) & (REMEMBERED - 1);
    if (this.ids[slot] === streamId) return this.closings[slot] as number;
    return newestId - streamId < 2 * REMEMBERED ? Closing.NEVER_OPENED : Closing.LONG_AGO;
  }
}
