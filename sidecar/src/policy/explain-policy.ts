import {
  type CompiledRule,
  concerns,
  type Decision,
  type DecisionRequest,
  type DecisionScope,
  type Miss,
  missOf,
  type TokenFacts,
} from './compiled-rule.ts';
import { parseIdentityPattern } from './identity-pattern.ts';
import type { ShadowDecision } from './identity-rules.ts';
import type { Policy } from './policy.ts';

/** A call that may not have been made. */
export interface ExplainRequest {
  /** The caller's SPIFFE ID. */
  readonly identity: string;
  /** `pkg.Service/Method` */
  readonly method: string;
  /** `name` or `name@version` */
  readonly model: string | null;
  readonly outputTokensLimit?: number | null;
  readonly priority?: number | null;
  readonly token: TokenFacts | null;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
}

interface RuleExplanation {
  readonly ruleId: string;
  readonly effect: 'ALLOW' | 'DENY';
  /** It decides and does not act. */
  readonly shadow: boolean;
  readonly matched: boolean;
  /** It matches because its condition failed, as rules that deny do. */
  readonly byFailure: boolean;
  /** The first thing that did not match, or what failed, as a sentence; empty when the rule matched. */
  readonly mismatch: string;
  readonly owner: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface Explanation {
  readonly decision: Decision;
  /** Null: policy in shadow agrees, or nothing is in shadow. */
  readonly shadow: ShadowDecision | null;
  /** Every rule of the document, in its order. */
  readonly rules: readonly RuleExplanation[];
  /** Ids of the limits that count the call, and of the protections that look into it. */
  readonly limits: readonly string[];
  readonly protections: readonly string[];
}

/** What policy decides on a call, and why each rule does or does not match it. */
export function explainPolicy(policy: Policy, asked: ExplainRequest): Explanation {
  const method = policy.contract.methods.get(`/${asked.method}`);
  if (method === undefined) {
    const mismatch = `The contract has no method ${asked.method} that may be called.`;
    return {
      decision: { allowed: false, ruleId: null, reason: 'NO_MATCHING_RULE' },
      shadow: null,
      rules: policy.rules.map((rule) => explained(rule, mismatch)),
      limits: [],
      protections: [],
    };
  }
  const request: DecisionRequest = {
    method,
    model: asked.model,
    outputTokensLimit: asked.outputTokensLimit ?? null,
    priority: asked.priority ?? null,
    token: asked.token,
    nowMs: asked.nowMs,
  };
  const own = policy.forIdentity(asked.identity);
  const decision = own.decide(request);
  const scope = own.scopeOf(request);
  const ofCall = (
    entries: readonly { readonly id: string; readonly match: { hasModel(model: string | null): boolean } }[],
  ) => entries.filter(({ match }) => match.hasModel(request.model)).map(({ id }) => id);
  return {
    decision,
    shadow: own.shadowOf(request, decision),
    rules: policy.rules.map((rule) => explainRule(rule, asked.identity, request, scope)),
    limits: ofCall(own.limits(method)),
    protections: ofCall(own.protections(method)),
  };
}

function explained(rule: CompiledRule, mismatch: string): RuleExplanation {
  const { id, effect, shadow, owner, labels } = rule;
  return { ruleId: id, effect, shadow, matched: mismatch === '', byFailure: false, mismatch, owner, labels };
}

function explainRule(
  rule: CompiledRule,
  identity: string,
  request: DecisionRequest,
  scope: DecisionScope,
): RuleExplanation {
  const mismatch = mismatchOf(rule, identity, request, scope);
  if (mismatch !== '' || rule.condition === null) return explained(rule, mismatch);
  const answer = scope.ask(rule.condition);
  if (typeof answer === 'string') return explained(rule, '');
  return {
    ...explained(rule, ''),
    byFailure: true,
    mismatch: `The condition failed with ${answer.failed}, and a rule that denies then matches.`,
  };
}

function mismatchOf(
  rule: CompiledRule,
  identity: string,
  request: DecisionRequest,
  scope: DecisionScope,
): string {
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
  const problem = rule.token === null ? null : scope.claimsProblem();
  if (problem !== null) return `The token is not looked at: ${problem}.`;
  const miss = missOf(rule, request, scope);
  return miss === null ? '' : missSentence(miss, rule, request, scope);
}

function missSentence(
  miss: Miss,
  rule: CompiledRule,
  request: DecisionRequest,
  scope: DecisionScope,
): string {
  switch (miss) {
    case 'MODEL_REQUIRED':
      return 'The rule asks for a model and the call names none.';
    case 'MODEL_NOT_ALLOWED':
      return `The rule does not name the model ${request.model}.`;
    case 'TOKEN_REQUIRED':
      return rule.token === null
        ? `The condition looks at a token and the call brings none: \`${rule.condition?.source}\`.`
        : `The rule asks for a token of the issuer ${rule.token.issuer} and the call brings ${request.token === null ? 'none' : `one of ${request.token.issuer}`}.`;
    case 'TOKEN_CLAIMS': {
      const claims = rule.token?.claims.map(({ name, values }) => `${name} = ${[...values].join(' or ')}`);
      return `The rule asks for the claims ${claims?.join(', ')}, and the token has others.`;
    }
    case 'CONDITION_FALSE':
      return `The condition was false: \`${rule.condition?.source}\`.`;
    case 'CONDITION_FAILED': {
      const answer = rule.condition && scope.ask(rule.condition);
      return `The condition failed with ${typeof answer === 'object' && answer !== null ? answer.failed : 'an error'}: \`${rule.condition?.source}\`.`;
    }
  }
}
