import type { Decision, Policy } from '../policy/index.ts';
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

/** Egress adds nothing to what the upstream's own policy decides: the app may call whatever upstream is configured. */
const EGRESS: DecisionFacts = Object.freeze({ allowed: true, ruleId: '', reason: '', policyVersion: '' });

/**
 * Asks the policy whether this caller may call this method, with this model and token. Denied unless a rule allows it.
 * @param policy null on egress alone
 */
export function authorise(call: Authenticated, policy: Policy | null): Permitted | Refusal {
  if (policy === null) return permit(call, EGRESS);
  const decision = call.peer
    .rulesUnder(policy)
    .decide({ method: call.method, model: call.model, token: call.token });
  return decision.allowed
    ? permit(call, { allowed: true, ruleId: decision.ruleId, reason: '', policyVersion: policy.version })
    : deny(call, decision, policy);
}

function permit(call: Authenticated, facts: DecisionFacts): Permitted {
  call.decision = facts;
  call.permit = new Permit(facts.ruleId);
  return call as Permitted;
}

function deny(call: Authenticated, decision: Extract<Decision, { allowed: false }>, policy: Policy): Refusal {
  const { reason } = decision;
  // A SPIFFE ID may have 2048 bytes; the details carry it whole.
  const who = call.identity.length > 256 ? `${call.identity.slice(0, 256)}…` : call.identity;
  call.decision = { allowed: false, ruleId: decision.ruleId ?? '', reason, policyVersion: policy.version };
  call.permit = null;
  const what =
    call.model === null ? call.path : `${call.path} with model ${JSON.stringify(call.model.slice(0, 128))}`;
  if (reason === 'TOKEN_REQUIRED') {
    return {
      kind: 'token',
      reason,
      sentence: `${who} may call ${what} only with an end-user token (policy ${policy.version}).`,
    };
  }
  const sentence = `${who} may not call ${what}: ${reasonText(decision)} (policy ${policy.version}).`;
  return { kind: 'denied', reason, sentence };
}

function reasonText({ reason, ruleId }: Extract<Decision, { allowed: false }>): string {
  switch (reason) {
    case 'DENIED_BY_RULE':
      return `rule ${JSON.stringify(ruleId)} denies it`;
    case 'TOKEN_REQUIRED':
      return 'the call has to bring an end-user token';
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
