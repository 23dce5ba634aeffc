/** One coarse timer for all time-outs of all connections. */
export interface Ticked {
  /** Called about every interval with the clock's time in milliseconds. */
  onTick(nowMs: number): void;
}

const INTERVAL_MS = 250;

export class Ticker {
  private readonly clockMs: () => number;
  private readonly members = new Set<Ticked>();
  private timer: NodeJS.Timeout | null = null;

  /** @param clockMs a clock that never goes back, in milliseconds */
  constructor(clockMs: () => number) {
    this.clockMs = clockMs;
  }

  nowMs(): number {
    return this.clockMs();
  }

  add(member: Ticked): void {
    this.members.add(member);
    if (this.timer === null) this.timer = setInterval(() => this.tick(), INTERVAL_MS).unref();
  }

  remove(member: Ticked): void {
    this.members.delete(member);
    if (this.members.size > 0 || this.timer === null) return;
    clearInterval(this.timer);
    this.timer = null;
  }

  /** Tells every member the time; the timer does it, and a test may. */
  tick(): void {
    const nowMs = this.clockMs();
    for (const member of this.members) member.onTick(nowMs);
  }
}

/** The ticker of connections that are given none. */
export const processTicker: Ticker = new Ticker(() => performance.now());
