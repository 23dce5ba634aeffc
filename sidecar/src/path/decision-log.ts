import type { ShadowDecision, TokenFacts } from '../policy/index.ts';
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

/** The last decisions, in a ring. */
export class DecisionLog {
  readonly #ring: (LoggedDecision | undefined)[];
  readonly #prefix: string;
  #count = 0;

  /** @param prefix begins every decision id, so that ids of several sidecars and of several starts differ */
  constructor(keptMax: number, prefix: string) {
    this.#ring = Array.from({ length: keptMax });
    this.#prefix = prefix;
  }

  /** Keeps the decision about a call. @returns its id */
  add(call: Call, timeMs: number): string {
    const decisionId = `${this.#prefix}-${this.#count.toString(36)}`;
    const { decision } = call;
    this.#ring[this.#count % this.#ring.length] = {
      decisionId,
      timeMs,
      allowed: decision?.allowed ?? false,
      ruleId: decision?.ruleId ?? '',
      reason: decision?.reason ?? '',
      identity: call.identity,
      method: call.path.slice(1),
      model: call.model ?? '',
      policyVersion: decision?.policyVersion ?? '',
      traceId: call.trace?.traceId ?? '',
      shadow: decision?.shadow ?? null,
      ruleOwner: decision?.owner ?? '',
      ruleLabels: decision?.labels ?? NO_LABELS,
      asked: {
        outputTokensLimit: call.requestValues?.outputTokensLimit ?? null,
        priority: call.requestValues?.priority ?? null,
        token: call.token,
      },
    };
    this.#count += 1;
    return decisionId;
  }

  /** Undefined: there was none of this id, or it has left the ring. */
  find(decisionId: string): LoggedDecision | undefined {
    return this.#ring.find((decision) => decision?.decisionId === decisionId);
  }

  /** Newest first. */
  newest(limit: number, refusedOnly: boolean): LoggedDecision[] {
    const found: LoggedDecision[] = [];
    const kept = Math.min(this.#count, this.#ring.length);
    for (let back = 1; back <= kept && found.length < limit; back++) {
      const decision = this.#ring[(this.#count - back) % this.#ring.length];
      if (decision && !(refusedOnly && decision.allowed)) found.push(decision);
    }
    return found;
  }
}
