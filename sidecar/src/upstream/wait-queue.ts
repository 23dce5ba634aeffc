import type { ConnectProblem } from './connect-problem.ts';

type Waiter = { readonly resolve: (problem: ConnectProblem | null) => void; readonly timer: NodeJS.Timeout };

/** Calls that wait for a stream, first come, first served, each with a time limit. */
export class WaitQueue {
  private readonly waitersMax: number;
  private readonly onRested: () => void;
  private readonly waiters = new Set<Waiter>();
  private awakeCount = 0;

  /** @param onRested called once the calls that were woken in a turn of the loop have had their chance */
  constructor(waitersMax: number, onRested: () => void) {
    this.waitersMax = waitersMax;
    this.onRested = onRested;
  }

  /** Calls that wait. */
  get size(): number {
    return this.waiters.size;
  }

  /** Calls that were woken in this turn of the loop and may not have taken their stream yet. */
  get awake(): number {
    return this.awakeCount;
  }

  /** @returns null when the queue is full; else null for a woken call, and the problem for any other */
  wait(timeoutMs: number, onTimeout: () => ConnectProblem): Promise<ConnectProblem | null> | null {
    if (this.waiters.size >= this.waitersMax) {
      return null;
    }
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.waiters.delete(waiter);
        resolve(onTimeout());
      }, timeoutMs);
      const waiter: Waiter = { resolve, timer };
      this.waiters.add(waiter);
    });
  }

  /** Wakes as many calls as there are free streams, those counted that are awake already. */
  wake(streamsFree: number): void {
    for (const waiter of this.waiters) {
      if (this.awakeCount >= streamsFree) {
        return;
      }
      if (this.awakeCount === 0) {
        // A woken call goes on within this turn, or never takes its stream.
        setImmediate(() => {
          this.awakeCount = 0;
          this.onRested();
        });
      }
      this.awakeCount += 1;
      this.finish(waiter, null);
    }
  }

  /** Ends all waiting. */
  fail(problem: ConnectProblem): void {
    for (const waiter of this.waiters) {
      this.finish(waiter, problem);
    }
  }

  private finish(waiter: Waiter, problem: ConnectProblem | null): void {
    this.waiters.delete(waiter);
    clearTimeout(waiter.timer);
    waiter.resolve(problem);
  }
}
