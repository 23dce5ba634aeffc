/** A flow-control window that the peer sends against (RFC 9113 §5.2, §6.9), for a stream or a connection. */
export class ReceiveWindow {
  private available: number;
  private returned = 0;
  private readonly batch: number;

  /**
   * @param open bytes the peer may send at first
   * @param target bytes the window is to keep open; credit is given back in steps of half of it
   */
  constructor(open: number, target: number) {
    this.available = open;
    this.batch = Math.max(1, target >> 1);
  }

  /** Keeps back the first `bytes` of credit: the way to a connection window below the initial one. */
  withhold(bytes: number): void {
    this.returned -= bytes;
  }

  /** Counts bytes that came in; false when the peer overran the window. */
  take(bytes: number): boolean {
    if (bytes > this.available) return false;
    this.available -= bytes;
    return true;
  }

  /** Takes note of bytes that are dealt with; returns the increment to announce now, or 0 to wait for more. */
  give(bytes: number): number {
    const returned = this.returned + bytes;
    if (returned < this.batch) {
      this.returned = returned;
      return 0;
    }
    this.returned = 0;
    this.available += returned;
    return returned;
  }

  /** Our SETTINGS_INITIAL_WINDOW_SIZE took effect: the window moves by the difference (RFC 9113 §6.9.2). */
  shift(bytes: number): void {
    this.available += bytes;
  }
}
