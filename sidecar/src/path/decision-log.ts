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
  requestValues: Call['requestValues'] = null;
  token: TokenFacts | null = null;
}

/** A trace id, or none, as the bytes of its digits. */
const TRACE_ID_LENGTH = 32;

/** The last decisions, in a ring. */
export class DecisionLog {
  readonly #ring: readonly Place[];
  /**
   * Place by place. As strings they would be slices that keep what they were cut from, a header or the digits of many ids, and
   * go with it to the old generation: 20 MB of the memory under load.
   */
  readonly #traceIds: Buffer;
  readonly #prefix: string;
  #count = 0;

  /** @param prefix begins every decision id, so that ids of several sidecars and of several starts differ */
  constructor(keptMax: number, prefix: string) {
    this.#ring = Array.from({ length: keptMax }, () => new Place());
    this.#traceIds = Buffer.alloc(keptMax * TRACE_ID_LENGTH);
    this.#prefix = prefix;
  }

  /** Keeps the decision about a call. @returns its number, of which `idOf` makes its id */
  add(call: Call, timeMs: number): number {
    const index = this.#count % this.#ring.length;
    const place = this.#ring[index] as Place;
    place.number = this.#count;
    place.timeMs = timeMs;
    place.decision = call.decision;
    place.identity = call.identity;
    place.path = call.path;
    this.#keepTraceId(index * TRACE_ID_LENGTH, call.trace?.traceId ?? '');
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

  /** The id of a decision. To make one costs more than to keep the decision, and most are never asked for. */
  idOf(number: number): string {
    return `${this.#prefix}-${number.toString(36)}`;
  }

  #newestFirst(): Place[] {
    const kept = Math.min(this.#count, this.#ring.length);
    return Array.from(
      { length: kept },
      (_, back) => this.#ring[(this.#count - 1 - back) % this.#ring.length] as Place,
    );
  }

  #keepTraceId(at: number, traceId: string): void {
    const bytes = this.#traceIds;
    if (traceId.length !== TRACE_ID_LENGTH) bytes.fill(0, at, at + TRACE_ID_LENGTH);
    else for (let i = 0; i < TRACE_ID_LENGTH; i++) bytes[at + i] = traceId.charCodeAt(i);
  }

  #traceIdOf(number: number): string {
    const at = (number % this.#ring.length) * TRACE_ID_LENGTH;
    return this.#traceIds[at] === 0 ? '' : this.#traceIds.toString('latin1', at, at + TRACE_ID_LENGTH);
  }

  #record(place: Place): LoggedDecision {
    const { number, timeMs, decision, identity, path, requestValues, token } = place;
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
      traceId: this.#traceIdOf(number),
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
