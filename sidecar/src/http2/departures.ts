/**
 * Streams that their owner has left and whose peer has not been told: servers count resets too, and one that loses
 * patience takes every call of the connection with it. So resets leave at a rate that any server bears.
 */

import type { Stream, StreamHandler } from './stream.ts';
import type { RateLimit } from './token-bucket.ts';
import { TokenBucket } from './token-bucket.ts';

/** Drops what still comes. The stream's own window stays shut, so that no more comes than it had left. */
class Departed implements StreamHandler {
  readonly code: number;
  readonly onGone: () => void;

  constructor(code: number, onGone: () => void) {
    this.code = code;
    this.onGone = onGone;
  }

  onHeaders(): void {}

  onData(stream: Stream, _chunk: Buffer, start: number, end: number): void {
    stream.lend(end - start);
  }

  onSent(): void {}

  onReset(): void {
    this.onGone();
  }

  onEnd(): void {
    this.onGone();
  }
}

export class Departures {
  private readonly bucket: TokenBucket;
  private waiting: Stream[] = [];

  constructor(limit: RateLimit, nowMs: number) {
    this.bucket = new TokenBucket(limit, nowMs);
  }

  /** Whether a reset may be sent now: none waits and the rate allows it. */
  allows(nowMs: number): boolean {
    return this.waiting.length === 0 && this.bucket.take(nowMs);
  }

  /** Leaves a stream to itself until its turn has come. */
  add(stream: Stream, code: number, onGone: () => void): void {
    stream.handler = new Departed(code, onGone);
    this.waiting.push(stream);
  }

  /** Sends the resets whose turn it is by `reset`, oldest first. */
  send(nowMs: number, reset: (stream: Stream, code: number) => void): void {
    let done = 0;
    for (; done < this.waiting.length; done++) {
      const stream = this.waiting[done] as Stream;
      if (stream.closed) continue;
      if (!this.bucket.take(nowMs)) break;
      const { code, onGone } = stream.handler as Departed;
      reset(stream, code);
      onGone();
    }
    this.waiting = this.waiting.slice(done);
  }
}
