import type { Stream, StreamHandler } from '../http2/index.ts';
import type {
  AppPool,
  Attempt,
  CallerHash,
  ConnectProblem,
  FailureCause,
  Outcome,
  Upstreams,
} from '../upstream/index.ts';
import type { Admitted } from './5-admit.ts';
import type { Call } from './call.ts';
import type { Refusal } from './refusal.ts';

/** A call that has somewhere to go. */
export type Routed = Admitted & { readonly target: Target };

/** Where one try of a call goes: an endpoint of an upstream, or the app. */
export interface Target {
  /** Opens a stream now, or null when no connection has room. */
  openStream(handler: StreamHandler): Stream | null;
  /** Waits until a stream can be opened; the problem when it can't within `timeoutMs`. */
  ready(timeoutMs: number): Promise<ConnectProblem | null>;
  /** Reports how the try went, once; later reports are ignored. */
  settle(outcome: Outcome, cause?: FailureCause): void;
  /** The try is over: its place at the endpoint is free. */
  release(): void;
  /** Whether this try may be followed by another after a failure. */
  mayRetry(): boolean;
}

/** Towards the app there is one place, and no choice. */
export function routeInbound(call: Admitted, app: AppPool): Routed {
  call.target = new AppTarget(app, call.peer.callerHash);
  return call as Routed;
}

/**
 * Egress: `:authority` names the upstream, the balancer chooses an endpoint whose breaker lets calls through, another
 * than `call.endpoint` where the call has failed there and there is a choice.
 */
export function routeEgress(
  call: Admitted,
  upstreams: Upstreams,
  onBreakerChange: (call: Call, change: BreakerChange) => void,
): Routed | Refusal {
  const upstream = upstreams.get(call.authority);
  if (upstream === undefined) return { kind: 'unknown-upstream' };
  call.upstream = upstream.name;
  const picked = upstream.pick(call.endpoint === '' ? undefined : call.endpoint);
  if ('retryDelayMs' in picked) {
    const kind = picked.because === 'NONE_KNOWN' ? 'no-endpoints' : 'circuit-open';
    return { kind, retryDelayMs: picked.retryDelayMs };
  }
  if (call.endpoint === '') upstream.retryBudget.deposit();
  call.endpoint = picked.endpoint.address;
  const target = new EndpointTarget(picked, () => upstream.retryBudget.withdraw());
  call.target = target;
  if (call.trace?.recorded) {
    call.breakerState = target.breakerState;
    target.onBreakerChange = (change) => onBreakerChange(call, change);
  }
  return call as Routed;
}

class AppTarget implements Target {
  readonly #app: AppPool;
  readonly #caller: CallerHash;

  constructor(app: AppPool, caller: CallerHash) {
    this.#app = app;
    this.#caller = caller;
  }

  openStream(handler: StreamHandler): Stream | null {
    return this.#app.openStream(this.#caller, handler);
  }

  ready(timeoutMs: number): Promise<ConnectProblem | null> {
    return this.#app.ready(this.#caller, timeoutMs);
  }

  settle(): void {
    // The app has no breaker: there is nowhere else to go.
  }

  release(): void {
    // Connections to the app are shared; a stream's end is all there is to give back.
  }

  mayRetry(): boolean {
    return true;
  }
}

type BreakerChange = { readonly from: string; readonly to: string; readonly endpoint: string };

class EndpointTarget implements Target {
  readonly #attempt: Attempt;
  readonly #withdraw: () => boolean;
  /** Set where somebody wants to know that this try has changed the breaker's state. */
  onBreakerChange: ((change: BreakerChange) => void) | null = null;

  constructor(attempt: Attempt, withdraw: () => boolean) {
    this.#attempt = attempt;
    this.#withdraw = withdraw;
  }

  openStream(handler: StreamHandler): Stream | null {
    return this.#attempt.openStream(handler);
  }

  ready(timeoutMs: number): Promise<ConnectProblem | null> {
    return this.#attempt.ready(timeoutMs);
  }

  get breakerState(): string {
    return this.#attempt.endpoint.view().breaker.state;
  }

  settle(outcome: Outcome, cause?: FailureCause): void {
    if (this.onBreakerChange === null) {
      this.#attempt.settle(outcome, cause);
      return;
    }
    const from = this.breakerState;
    this.#attempt.settle(outcome, cause);
    const to = this.breakerState;
    if (from !== to) this.onBreakerChange({ from, to, endpoint: this.#attempt.endpoint.address });
  }

  release(): void {
    this.#attempt.release();
  }

  mayRetry(): boolean {
    return this.#withdraw();
  }
}
