import type { Target } from './6-route.ts';
import type { GrpcStatus } from './grpc-status.ts';
import type { Refusal } from './refusal.ts';

/** An answer that is there in full. */
export interface Answer {
  /** Passes on its last header block. */
  sendStatus(): void;
}

/** What forward tells the rest of the path. */
export interface ForwardOwner {
  /** The upstream has answered in full with this status. */
  onAnswered(status: GrpcStatus, answer: Answer): void;
  /** The call can't be answered by an upstream. */
  onFailed(refusal: Refusal): void;
  /** So many bytes of the request have left to the present upstream. */
  onRequestSent(bytes: number): void;
  /** Another try is wanted. @returns the next target, or why there is none */
  reroute(reason: string): Target | Refusal;
  /** A try that is not the first has begun. @returns what it sends as `traceparent` */
  triedAgain(): string | null;
}

export type ForwardLimits = {
  readonly connectMsMax: number;
  readonly attemptsMax: number;
  readonly retryBytesPerCallMax: number;
};
