import { parseIdentityPattern } from './identity-pattern.ts';
import {
  type CompiledRule,
  concerns,
  type Decision,
  type DecisionRequest,
  type Miss,
  missOf,
  type Policy,
  type TokenFacts,
} from './policy.ts';

/** A call that may not have been made. */
interface ExplainRequest {
  /** The caller's SPIFFE ID. */
  readonly identity: string;
  /** `pkg.Service/Method` */
  readonly method: string;
  readonly model: string | null;
  readonly token: TokenFacts | null;
}

interface RuleExplanation {
  readonly ruleId: string;
  readonly matched: boolean;
  /** The first thing that did not match, as a sentence; empty when the rule matched. */
  readonly mismatch: string;
}

interface Explanation {
  readonly decision: Decision;
  /** Every rule of the document, in its order. */
  readonly rules: readonly RuleExplanation[];
}

/** What policy decides on a call, and why each rule does or does not match it. */
export function explainPolicy(policy: Policy, request: ExplainRequest): Explanation {
  const method = policy.contract.methods.get(`/${request.method}`);
  const decision: Decision =
    method === undefined
      ? { allowed: false, ruleId: null, reason: 'NO_MATCHING_RULE' }
      : policy.forIdentity(request.identity).decide({ ...request, method });
  const rules = policy.rules.map((rule) => {
    const mismatch =
      method === undefined
        ? `The contract has no method ${request.method} that may be called.`
        : mismatchOf(rule, request.identity, { ...request, method });
    return { ruleId: rule.id, matched: mismatch === '', mismatch };
  });
  return { decision, rules };
}

function mismatchOf(rule: CompiledRule, identity: string, request: DecisionRequest): string {
  const caller = parseIdentityPattern(identity);
  if (!caller?.isExact) return `${identity} is not a SPIFFE ID with a path.`;
  if (!concerns(rule, caller)) return `The rule does not name the identity ${identity}.`;
  const { method } = request;
  const name = method.path.slice(1);
  if (!rule.paths.has(method.path)) {
    return rule.models !== null && !method.requestFields?.readsModel
      ? `The rule does not name the method ${name}, or names it and asks for a model, which ${name} does not have.`
      : `The rule does not name the method ${name}.`;
  }
  const miss = missOf(rule, request);
  return miss === null ? '' : missSentence(miss, rule, request);
}

function missSentence(miss: Miss, rule: CompiledRule, request: DecisionRequest): string {
  switch (miss) {
    case 'MODEL_REQUIRED':
      return 'The rule asks for a model and the call names none.';
    case 'MODEL_NOT_ALLOWED':
      return `The rule does not name the model ${request.model}.`;
    case 'TOKEN_REQUIRED':
      return `The rule asks for a token of the issuer ${rule.token?.issuer} and the call brings ${request.token === null ? 'none' : `one of ${request.token.issuer}`}.`;
    case 'TOKEN_CLAIMS': {
      const claims = rule.token?.claims.map(({ name, values }) => `${name} = ${[...values].join(' or ')}`);
      return `The rule asks for the claims ${claims?.join(', ')}, and the token has others.`;
    }
  }
}
