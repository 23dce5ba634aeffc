import { RpcError } from '@gatehouse/service-kit';
import { status } from '@grpc/grpc-js';

/** RetryInfo stays within these, whatever recent calls took. */
const retryDelayMsMin = 100;
const retryDelayMsMax = 30_000;

export interface AdmissionLimits {
  /** Calls that run at a time. */
  readonly runningMax: number;
  /** Calls that wait at a time. */
  readonly queueDepthMax: number;
}

interface Waiter {
  readonly priority: number;
  admit(): void;
}

/**
 * Lets a bounded number of calls run and a bounded number wait, higher priority first and in order of arrival within
 * one priority. What is beyond both is refused at once.
 */
export class AdmissionQueue {
  readonly #model: string;
  readonly #limits: AdmissionLimits;
  readonly #now: () => number;
  readonly #waiting: Waiter[] = [];
  #running = 0;
  /** Moving average of how long a call keeps its place, in milliseconds. */
  #holdMs = 1000;

  constructor(model: string, limits: AdmissionLimits, now: () => number) {
    this.#model = model;
    this.#limits = limits;
    this.#now = now;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Waits for a place.
   * @returns a function that gives the place back; call it exactly once
   * @throws RpcError RESOURCE_EXHAUSTED when the queue is full; the signal's reason when aborted while waiting
   */
  async enter(priority: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#running < this.#limits.runningMax) this.#running += 1;
    else if (this.#waiting.length >= this.#limits.queueDepthMax) throw this.#full();
    else await this.#wait(priority, signal);
    const begun = this.#now();
    return () => {
      this.#holdMs = 0.8 * this.#holdMs + 0.2 * (this.#now() - begun);
      this.#leave();
    };
  }

  #wait(priority: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(signal.reason as Error);
      };
      const waiter: Waiter = {
        priority,
        admit: () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      const behind = this.#waiting.findIndex((other) => other.priority < priority);
      this.#waiting.splice(behind < 0 ? this.#waiting.length : behind, 0, waiter);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** The place passes straight to the next in line, so that nobody who arrives in between takes it. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next) next.admit();
    else this.#running -= 1;
  }

  #full(): RpcError {
    const { queueDepthMax, runningMax } = this.#limits;
    const turnMs = (this.#holdMs * (queueDepthMax + 1)) / runningMax;
    return new RpcError(
      status.RESOURCE_EXHAUSTED,
      `The queue of model ${this.#model} is full with ${queueDepthMax} calls.`,
      {
        errorInfo: {
          reason: 'QUEUE_FULL',
          metadata: { model: this.#model, queueDepthMax: String(queueDepthMax) },
        },
        retryDelayMs: Math.min(retryDelayMsMax, Math.max(retryDelayMsMin, turnMs)),
        quotaFailure: [
          {
            subject: `model:${this.#model}`,
            description: `at most ${queueDepthMax} calls wait for this model`,
          },
        ],
      },
    );
  }
}
