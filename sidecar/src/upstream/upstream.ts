import { choose } from './balancer.ts';
import type { Attempt, Endpoint, EndpointView } from './endpoint.ts';
import type { RetryBudget } from './retry-budget.ts';

/** With every breaker open, one call is let through after this time, and again after it. */
const PANIC_MS = 1_000;

export type UpstreamParts = {
  /** The `:authority` that apps dial. */
  readonly name: string;
  /** The SPIFFE ID that its endpoints must show. */
  readonly identity: string;
  /** At least one. */
  readonly endpoints: readonly Endpoint[];
  readonly retryBudget: RetryBudget;
  /** Milliseconds since the epoch, never going back. */
  readonly clock: () => number;
  /** From 0 to below 1. */
  readonly random: () => number;
};

export type UpstreamView = {
  readonly name: string;
  readonly identity: string;
  /** Retries that could be made at once. */
  readonly retriesAvailable: number;
  readonly endpoints: readonly EndpointView[];
};

/** No endpoint takes the call; one may in `retryDelayMs` milliseconds. */
export type NoEndpoint = { readonly retryDelayMs: number };

/** A service under its name, and the endpoints that serve it. */
export class Upstream {
  readonly name: string;
  readonly retryBudget: RetryBudget;
  readonly endpoints: readonly Endpoint[];
  private readonly parts: UpstreamParts;
  /** When all breakers were first seen open; null while one admits calls. */
  private panicSinceMs: number | null = null;

  constructor(parts: UpstreamParts) {
    this.parts = parts;
    this.name = parts.name;
    this.retryBudget = parts.retryBudget;
    this.endpoints = parts.endpoints;
  }

  /**
   * Chooses an endpoint and begins a call there.
   *
   * When every breaker is open, calls are refused, but one per second goes to the endpoint whose probe is nearest: the
   * breakers may all be wrong (a short partition on our side), and a success closes that breaker at once.
   *
   * @param avoid address of the endpoint that has just failed this call
   */
  pick(avoid?: string): Attempt | NoEndpoint {
    const { clock, random } = this.parts;
    const nowMs = clock();
    const failed = avoid === undefined ? undefined : this.endpoints.find(({ address }) => address === avoid);
    const attempt = choose(this.endpoints, { nowMs, random }, failed)?.begin() ?? null;
    if (attempt === null) {
      return this.panic(nowMs);
    }
    this.panicSinceMs = null;
    return attempt;
  }

  view(): UpstreamView {
    return {
      name: this.name,
      identity: this.parts.identity,
      retriesAvailable: this.retryBudget.available,
      endpoints: this.endpoints.map((endpoint) => endpoint.view()),
    };
  }

  private panic(nowMs: number): Attempt | NoEndpoint {
    const nearest = this.endpoints.reduce((best, endpoint) =>
      endpoint.breaker.nextProbeInMs < best.breaker.nextProbeInMs ? endpoint : best,
    );
    const retryDelayMs = Math.max(1, Math.ceil(nearest.breaker.nextProbeInMs));
    this.panicSinceMs ??= nowMs;
    if (nowMs - this.panicSinceMs < PANIC_MS) {
      return { retryDelayMs };
    }
    this.panicSinceMs = nowMs;
    return nearest.beginInPanic() ?? { retryDelayMs };
  }
}
