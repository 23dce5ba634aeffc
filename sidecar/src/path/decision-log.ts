import { modelOf, type ShadowDecision, type TokenFacts } from '../policy/index.ts';
import type { DecisionFacts } from './4-authorise.ts';
import type { Call } from './call.ts';

/** One decision, kept for the admin view. Holds names and ids, never content. */
export type LoggedDecision = {
  readonly decisionId: string;
  readonly timeMs: number;
  readonly allowed: boolean;
  readonly ruleId: string;
  readonly reason: string;
  readonly identity: string;
  readonly method: string;
  readonly model: string;
  readonly policyVersion: string;
  readonly traceId: string;
  /** What policy in shadow would have decided otherwise. */
  readonly shadow: ShadowDecision | null;
  readonly ruleOwner: string;
  readonly ruleLabels: Readonly<Record<string, string>>;
  /** What it was decided by beside the above: for asking again, shown to nobody. */
  readonly asked: {
    readonly outputTokensLimit: number | null;
    readonly priority: number | null;
    readonly token: TokenFacts | null;
  };
};

const NO_LABELS: Readonly<Record<string, string>> = {};

/**
 * A place in the ring, written over again and again. A record made for every call would live just long enough to be moved
 * to the old generation; a place keeps what the call had anyway, and the record is made when somebody asks.
 */
class Place {
  number = 0;
  timeMs = 0;
  decision: DecisionFacts | null = null;
  identity = '';
  path = '';
  traceId = '';
  requestValues: Call['requestValues'] = null;
  token: TokenFacts | null = null;
}

/** The last decisions, in a ring. */
export class DecisionLog {
  readonly #ring: readonly Place[];
  readonly #prefix: string;
  #count = 0;

  /** @param prefix begins every decision id, so that ids of several sidecars and of several starts differ */
  constructor(keptMax: number, prefix: string) {
    this.#ring = Array.from({ length: keptMax }, () => new Place());
    this.#prefix = prefix;
  }

  /** Keeps the decision about a call. @returns its number, of which `idOf` makes its id */
  add(call: Call, timeMs: number): number {
    const place = this.#ring[this.#count % this.#ring.length] as Place;
    place.number = this.#count;
    place.timeMs = timeMs;
    place.decision = call.decision;
    place.identity = call.identity;
    place.path = call.path;
    place.traceId = call.trace?.traceId ?? '';
    place.requestValues = call.requestValues;
    place.token = call.token;
    this.#count += 1;
    return place.number;
  }

  /** Undefined: there was none of this id, or it has left the ring. */
  find(decisionId: string): LoggedDecision | undefined {
    const place = this.#newestFirst().find(({ number }) => this.idOf(number) === decisionId);
    return place && this.#record(place);
  }

  newest(limit: number, refusedOnly: boolean): LoggedDecision[] {
    return this.#newestFirst()
      .filter(({ decision }) => !(refusedOnly && decision?.allowed === true))
      .slice(0, limit)
      .map((place) => this.#record(place));
  }

  #newestFirst(): Place[] {
    const kept = Math.min(this.#count, this.#ring.length);
    return Array.from(
      { length: kept },
      (_, back) => this.#ring[(this.#count - 1 - back) % this.#ring.length] as Place,
    );
  }

  /** The id of a decision. To make one costs more than to keep the decision, and most are never asked for. */
  idOf(number: number): string {
    return `${this.#prefix}-${number.toString(36)}`;
  }

  #record(place: Place): LoggedDecision {
    const { number, timeMs, decision, identity, path, traceId, requestValues, token } = place;
    return {
      decisionId: this.idOf(number),
      timeMs,
      allowed: decision?.allowed ?? false,
      ruleId: decision?.ruleId ?? '',
      reason: decision?.reason ?? '',
      identity,
      method: path.slice(1),
      model: modelOf(requestValues) ?? '',
      policyVersion: decision?.policyVersion ?? '',
      traceId,
      shadow: decision?.shadow ?? null,
      ruleOwner: decision?.owner ?? '',
      ruleLabels: decision?.labels ?? NO_LABELS,
      asked: {
        outputTokensLimit: requestValues?.outputTokensLimit ?? null,
        priority: requestValues?.priority ?? null,
        token,
      },
    };
  }
}
