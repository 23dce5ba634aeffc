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
  readonly openEndpoint: (address: string) => Endpoint;
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
  /** Those that get new calls. */
  readonly endpoints: readonly EndpointView[];
  /** Those that have left, and still have calls. */
  readonly endpointsLeaving: number;
};

/** No endpoint takes the call; one may in `retryDelayMs` milliseconds. */
export type NoEndpoint = { readonly retryDelayMs: number; readonly because: 'ALL_OPEN' | 'NONE_KNOWN' };

/** What a call without a single known endpoint may wait before the next try. */
const NONE_KNOWN_RETRY_MS = 1_000;

/** A service under its name, and the endpoints that serve it. */
export class Upstream {
  readonly name: string;
  readonly retryBudget: RetryBudget;
  private readonly parts: UpstreamParts;
  private present: readonly Endpoint[] = [];
  /** No longer present, with calls in progress; may come back. */
  private readonly leaving = new Map<string, Endpoint>();
  /** Without calls, closing their connections. */
  private readonly ending = new Set<Endpoint>();
  /** When all breakers were first seen open; null while one admits calls. */
  private panicSinceMs: number | null = null;

  constructor(parts: UpstreamParts) {
    this.parts = parts;
    this.name = parts.name;
    this.retryBudget = parts.retryBudget;
  }

  /** Those that get new calls. */
  get endpoints(): readonly Endpoint[] {
    return this.present;
  }

  /** Those with anything to look after: present ones, and ones that have left and have not ended. */
  get all(): readonly Endpoint[] {
    return [...this.present, ...this.leaving.values(), ...this.ending];
  }

  /**
   * Makes these addresses the present ones. One that stays keeps its connections and its breaker; one that is new is dialled
   * when a call asks; one that has gone gets no new call, and ends with the last call that it has.
   */
  setEndpoints(addresses: readonly string[]): void {
    const wanted = new Set(addresses);
    const before = new Map(this.present.map((endpoint) => [endpoint.address, endpoint]));
    this.present = [...wanted].map(
      (address) => before.get(address) ?? this.comeBack(address) ?? this.parts.openEndpoint(address),
    );
    for (const endpoint of before.values()) {
      if (!wanted.has(endpoint.address)) {
        this.leave(endpoint);
      }
    }
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
      endpointsLeaving: this.leaving.size,
    };
  }

  private leave(endpoint: Endpoint): void {
    this.leaving.set(endpoint.address, endpoint);
    endpoint.retire(() => {
      this.leaving.delete(endpoint.address);
      this.ending.add(endpoint);
      void endpoint.drain().then(() => {
        endpoint.close();
        this.ending.delete(endpoint);
      });
    });
  }

  private comeBack(address: string): Endpoint | undefined {
    const endpoint = this.leaving.get(address);
    this.leaving.delete(address);
    endpoint?.stay();
    return endpoint;
  }

  private panic(nowMs: number): Attempt | NoEndpoint {
    const [first, ...others] = this.endpoints;
    if (first === undefined) {
      return { retryDelayMs: NONE_KNOWN_RETRY_MS, because: 'NONE_KNOWN' };
    }
    const nearest = others.reduce(
      (best, endpoint) => (endpoint.breaker.nextProbeInMs < best.breaker.nextProbeInMs ? endpoint : best),
      first,
    );
    const retryDelayMs = Math.max(1, Math.ceil(nearest.breaker.nextProbeInMs));
    this.panicSinceMs ??= nowMs;
    if (nowMs - this.panicSinceMs < PANIC_MS) {
      return { retryDelayMs, because: 'ALL_OPEN' };
    }
    this.panicSinceMs = nowMs;
    return nearest.beginInPanic() ?? { retryDelayMs, because: 'ALL_OPEN' };
  }
}
