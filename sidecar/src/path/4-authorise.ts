import type { Decision, Policy, ShadowDecision } from '../policy/index.ts';
import type { Authenticated } from './3-authenticate.ts';
import type { Refusal } from './refusal.ts';

/** A call that policy allows. Only this stage makes a Permit, so no call gets on without one. */
export type Permitted = Authenticated & { readonly permit: Permit };

/** What was decided about a call, for its span, its refusal and the decision list. */
export type DecisionFacts = {
  readonly allowed: boolean;
  /** Empty when no rule matched, and on egress. */
  readonly ruleId: string;
  /** ErrorInfo.reason of the refusal; empty when allowed. */
  readonly reason: string;
  readonly policyVersion: string;
  /** What policy in shadow would have decided otherwise; null: it agrees, or nothing is in shadow. */
  readonly shadow: ShadowDecision | null;
  /** Of the rule: who answers for it, and what groups it with others. */
  readonly owner: string;
  readonly labels: Readonly<Record<string, string>>;
};

class Permit {
  /** Makes the type nominal: an object that only looks like a Permit is none. */
  declare private readonly minted: never;
  readonly ruleId: string;

  constructor(ruleId: string) {
    this.ruleId = ruleId;
  }
}

export type { Permit };

/** A token that is refused decides the call before any rule does. */
export function refusedByToken(reason: string, policyVersion: string): DecisionFacts {
  return { ...EGRESS, allowed: false, reason, policyVersion };
}

/** Egress adds nothing to what the upstream's own policy decides: the app may call whatever upstream is configured. */
const EGRESS: DecisionFacts = Object.freeze({
  allowed: true,
  ruleId: '',
  reason: '',
  policyVersion: '',
  shadow: null,
  owner: '',
  labels: {},
});

/**
 * Asks the policy whether this caller may call this method, with this model and token. Denied unless a rule allows it.
 * @param policy null on egress alone
 * @param nowMs what conditions see as `now`
 */
export function authorise(call: Authenticated, policy: Policy | null, nowMs: number): Permitted | Refusal {
  if (policy === null) return permit(call, EGRESS);
  const rules = call.peer.rulesUnder(policy);
  const known = call.peer.allowedLast;
  if (known !== null && known.decision === rules.settled(call.method)) return permit(call, known.facts);
  const { method, model, token, requestValues } = call;
  const request = {
    method,
    model,
    outputTokensLimit: requestValues?.outputTokensLimit ?? null,
    priority: requestValues?.priority ?? null,
    token,
    nowMs,
  };
  const decision = rules.decide(request);
  const shadow = rules.shadowOf(request, decision);
  // Nearly all calls of one caller are allowed by the same rule, and what is to be said about that is the same.
  if (shadow === null && known !== null && known.decision === decision) return permit(call, known.facts);
  const rule = decision.ruleId === null ? undefined : policy.rule(decision.ruleId);
  const facts: DecisionFacts = {
    allowed: decision.allowed,
    ruleId: decision.ruleId ?? '',
    reason: decision.allowed ? '' : decision.reason,
    policyVersion: policy.version,
    shadow,
    owner: rule?.owner ?? '',
    labels: rule?.labels ?? EGRESS.labels,
  };
  if (!decision.allowed) return deny(call, facts, decision);
  if (shadow === null) call.peer.allowedLast = { decision, facts };
  return permit(call, facts);
}

function permit(call: Authenticated, facts: DecisionFacts): Permitted {
  call.decision = facts;
  call.permit = new Permit(facts.ruleId);
  return call as Permitted;
}

type Denial = Extract<Decision, { allowed: false }>;

function deny(call: Authenticated, facts: DecisionFacts, decision: Denial): Refusal {
  const { reason } = decision;
  // A SPIFFE ID may have 2048 bytes; the details carry it whole.
  const who = call.identity.length > 256 ? `${call.identity.slice(0, 256)}…` : call.identity;
  call.decision = facts;
  call.permit = null;
  const what =
    call.model === null ? call.path : `${call.path} with model ${JSON.stringify(call.model.slice(0, 128))}`;
  if (reason === 'TOKEN_REQUIRED') {
    return {
      kind: 'token',
      reason,
      sentence: `${who} may call ${what} only with an end-user token (policy ${facts.policyVersion}).`,
    };
  }
  const sentence = `${who} may not call ${what}: ${reasonText(decision)} (policy ${facts.policyVersion}).`;
  return { kind: 'denied', reason, sentence };
}

function reasonText({ reason, ruleId }: Denial): string {
  switch (reason) {
    case 'DENIED_BY_RULE':
      return `rule ${JSON.stringify(ruleId)} denies it`;
    case 'TOKEN_REQUIRED':
      return 'the call has to bring an end-user token';
    case 'CONDITION_FALSE':
      return `the condition of rule ${JSON.stringify(ruleId)} does not hold for it`;
    case 'CONDITION_FAILED':
      return `the condition of rule ${JSON.stringify(ruleId)} asks for what the call does not have`;
    case 'TOKEN_CLAIMS_MALFORMED':
      return 'the token has claims of another type or size than policy takes';
    case 'TOKEN_CLAIMS':
      return 'the token lacks the claims that a rule asks for';
    case 'MODEL_REQUIRED':
      return 'the rules for it are about models, and the request names none';
    case 'MODEL_NOT_ALLOWED':
      return 'no rule allows this model';
    case 'NO_MATCHING_RULE':
      return 'no rule allows it';
  }
}
