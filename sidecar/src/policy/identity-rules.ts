import type { ContractMethod } from '@gatehouse/contracts';
import type { ClaimsReader } from './claims.ts';
import {
  type CallerScope,
  type CompiledRule,
  type Decision,
  type DecisionRequest,
  DecisionScope,
  type Miss,
  missOf,
} from './compiled-rule.ts';
import { type CompiledLimit, limitNeeds } from './limits.ts';
import type { CompiledProtection } from './protections.ts';

/** What policy in shadow would have decided, where it is not what was decided. */
export interface ShadowDecision {
  /** Empty: no one rule decides. */
  readonly ruleId: string;
  readonly would: 'allow' | 'deny';
  /** ErrorInfo.reason of the refusal; empty where it would allow. */
  readonly reason: string;
  /** The document that it is of. */
  readonly policyVersion: string;
}

/** All that concerns one caller. */
export interface CallerParts {
  readonly caller: CallerScope;
  readonly policyVersion: string;
  /** By the issuer's name. */
  readonly readers: ReadonlyMap<string, ClaimsReader>;
  /** Of each kind what names the caller. */
  readonly rules: readonly CompiledRule[];
  readonly limits: readonly CompiledLimit[];
  readonly protections: readonly CompiledProtection[];
  /** The same caller's rules in the document that is in shadow; null: there is none. */
  readonly beside: IdentityRules | null;
}

interface Needs {
  request: boolean;
  token: boolean;
}

/** All that concerns one caller and one method. */
interface MethodRules {
  readonly acting: RuleSet;
  /** Those that act and those in shadow; null: none is in shadow. */
  shadow: RuleSet | null;
  readonly limits: readonly CompiledLimit[];
  readonly protections: readonly CompiledProtection[];
  readonly needs: Needs;
  readonly shadowNeeds: Needs;
  /** What is decided about every call, whatever it brings; null where that matters. */
  settled: Decision | null;
  /** What was decided about calls with a token, by its claims; null where more than the token matters. */
  byClaims: WeakMap<object, TokenDecision> | null;
}

interface TokenDecision {
  readonly issuer: string;
  readonly decision: Decision;
}

interface RuleSet {
  readonly denies: CompiledRule[];
  readonly allows: CompiledRule[];
}

/** The nearest to allowing first. */
const NEARNESS: readonly Miss[] = [
  'CONDITION_FALSE',
  'CONDITION_FAILED',
  'TOKEN_CLAIMS',
  'TOKEN_REQUIRED',
  'MODEL_NOT_ALLOWED',
  'MODEL_REQUIRED',
];
const OF_NO_ONE_RULE: ReadonlySet<Miss> = new Set<Miss>(['MODEL_NOT_ALLOWED', 'MODEL_REQUIRED']);
const NO_MATCHING_RULE: Decision = { allowed: false, ruleId: null, reason: 'NO_MATCHING_RULE' };
const CLAIMS_MALFORMED: Decision = { allowed: false, ruleId: null, reason: 'TOKEN_CLAIMS_MALFORMED' };
const NONE: readonly never[] = [];

/** The rules that concern one caller, by method. A decision costs one look-up and the rules for that method alone. */
export class IdentityRules {
  readonly #methods = new Map<string, MethodRules>();
  readonly #of: CallerParts;
  /** The newest method asked about: a call asks half a dozen times, and calls in a row are often of one method. */
  #newest: ContractMethod | null = null;
  #newestRules: MethodRules | undefined;

  constructor(of: CallerParts) {
    this.#of = of;
    for (const rule of of.rules) for (const path of rule.paths) this.#add(rule, path);
    for (const rules of this.#methods.values()) {
      rules.settled = settledBy(rules);
      if (decidesByToken(rules)) rules.byClaims = new WeakMap();
    }
  }

  /**
   * Whether a rule, a limit or a protection looks at the request's message, so that it has to be read first. Policy in
   * shadow holds up no stream: where it alone would look, the first message of many is not waited for.
   */
  needsRequest(method: ContractMethod): boolean {
    const rules = this.#rulesOf(method);
    if (rules?.needs.request) return true;
    if (method.kind === 'client-streaming' || method.kind === 'bidi') return false;
    return (rules?.shadowNeeds.request ?? false) || (this.#of.beside?.needsRequest(method) ?? false);
  }

  /** Whether a message that cannot be read ends the call: not where policy in shadow alone looks at it. */
  refusesUnreadable(method: ContractMethod): boolean {
    return this.#rulesOf(method)?.needs.request ?? false;
  }

  /** Whether a rule or a limit looks at an end-user token, so that one that comes has to be verified. */
  needsToken(method: ContractMethod): boolean {
    const rules = this.#rulesOf(method);
    if (rules === undefined) return this.#of.beside?.needsToken(method) ?? false;
    return rules.needs.token || rules.shadowNeeds.token || (this.#of.beside?.needsToken(method) ?? false);
  }

  /** Whether a token that is there and bad ends the call: not where policy in shadow alone looks at it. */
  refusesBadToken(method: ContractMethod): boolean {
    return this.#rulesOf(method)?.needs.token ?? false;
  }

  /** The limits that concern the method; which of them concern the model, each says itself. */
  limits(method: ContractMethod): readonly CompiledLimit[] {
    return this.#rulesOf(method)?.limits ?? NONE;
  }

  /** The protections that concern the method; which of them concern the model, each says itself. */
  protections(method: ContractMethod): readonly CompiledProtection[] {
    return this.#rulesOf(method)?.protections ?? NONE;
  }

  /**
   * A rule that denies wins over all that allow. Fails closed: a rule with models, a token or a condition allows only where
   * the call has them, and what no rule allows is denied.
   */
  decide(request: DecisionRequest): Decision {
    const rules = this.#rulesOf(request.method);
    if (rules === undefined) return NO_MATCHING_RULE;
    const { token } = request;
    if (rules.byClaims === null || token === null) return this.#decideAnew(rules, request);
    // The claims of a verified token are one object for as long as it counts as verified: a condition on them is evaluated once.
    const known = rules.byClaims.get(token.claims);
    if (known?.issuer === token.issuer) return known.decision;
    const decision = this.#decideAnew(rules, request);
    rules.byClaims.set(token.claims, { issuer: token.issuer, decision });
    return decision;
  }

  #decideAnew(rules: MethodRules, request: DecisionRequest): Decision {
    const scope = this.scopeOf(request);
    if (rules.needs.token && scope.claimsProblem() !== null) return CLAIMS_MALFORMED;
    return decideBy(rules.acting, request, scope);
  }

  /**
   * The decision about every call of the method, where neither what a call brings nor policy in shadow can make a
   * difference; else null, and `decide` has to be asked.
   */
  settled(method: ContractMethod): Decision | null {
    return this.#of.beside === null ? (this.#rulesOf(method)?.settled ?? null) : null;
  }

  /** What would have been decided if rules or the document in shadow acted; null: the same, or nothing is in shadow. */
  shadowOf(request: DecisionRequest, decision: Decision): ShadowDecision | null {
    const { beside, policyVersion } = this.#of;
    const shadow = this.#rulesOf(request.method)?.shadow ?? null;
    if (shadow === null && beside === null) return null;
    if (shadow !== null) {
      const scope = this.scopeOf(request);
      const would = scope.claimsProblem() === null ? decideBy(shadow, request, scope) : CLAIMS_MALFORMED;
      if (would.allowed !== decision.allowed) return toShadow(would, policyVersion);
    }
    const would = beside?.decide(request);
    return would === undefined || would.allowed === decision.allowed
      ? null
      : toShadow(would, beside?.policyVersion ?? '');
  }

  get policyVersion(): string {
    return this.#of.policyVersion;
  }

  /** What conditions see of a call by this caller. */
  scopeOf(request: DecisionRequest): DecisionScope {
    return new DecisionScope(this.#of.caller, request, this.#of.readers);
  }

  #rulesOf(method: ContractMethod): MethodRules | undefined {
    if (this.#newest !== method) {
      this.#newest = method;
      this.#newestRules = this.#methods.get(method.path);
    }
    return this.#newestRules;
  }

  #add(rule: CompiledRule, path: string): void {
    let rules = this.#methods.get(path);
    if (rules === undefined) {
      rules = this.#beginMethod(path);
      this.#methods.set(path, rules);
    }
    if (rule.shadow) rules.shadow ??= { denies: [...rules.acting.denies], allows: [...rules.acting.allows] };
    for (const set of rule.shadow ? [rules.shadow] : [rules.acting, rules.shadow])
      (rule.effect === 'DENY' ? set?.denies : set?.allows)?.push(rule);
    const needs = rule.shadow ? rules.shadowNeeds : rules.needs;
    if (rule.models !== null || (rule.condition?.reads.requestFields.size ?? 0) > 0) needs.request = true;
    if (rule.token !== null || rule.condition?.reads.token === true) needs.token = true;
  }

  #beginMethod(path: string): MethodRules {
    const limits = this.#of.limits.filter(({ match }) => match.hasPath(path));
    const protections = this.#of.protections.filter(({ match }) => match.hasPath(path));
    const needs = limits.map(limitNeeds);
    return {
      acting: { denies: [], allows: [] },
      shadow: null,
      limits,
      protections,
      needs: {
        request:
          needs.some(({ request }) => request) ||
          protections.some(({ onRequest, match }) => onRequest || match.models !== null),
        token: needs.some(({ token }) => token),
      },
      shadowNeeds: { request: false, token: false },
      settled: null,
      byClaims: null,
    };
  }
}

function settledBy({ acting, shadow, needs }: MethodRules): Decision | null {
  const [first] = acting.allows;
  if (first === undefined || acting.denies.length > 0 || shadow !== null || needs.token) return null;
  const asks = first.models !== null || first.token !== null || first.condition !== null;
  return asks ? null : first.decision;
}

/** Whether no rule looks at more of a call than its token. */
function decidesByToken({ acting, needs }: MethodRules): boolean {
  const looksFurther = ({ models, condition }: CompiledRule): boolean =>
    models !== null ||
    (condition !== null && (condition.reads.now || condition.reads.requestFields.size > 0));
  return needs.token && ![...acting.denies, ...acting.allows].some(looksFurther);
}

function decideBy(rules: RuleSet, request: DecisionRequest, scope: DecisionScope): Decision {
  for (const rule of rules.denies) if (missOf(rule, request, scope) === null) return rule.decision;
  let nearest: { readonly rule: CompiledRule; readonly miss: Miss } | undefined;
  for (const rule of rules.allows) {
    const miss = missOf(rule, request, scope);
    if (miss === null) return rule.decision;
    if (nearest === undefined || NEARNESS.indexOf(miss) < NEARNESS.indexOf(nearest.miss))
      nearest = { rule, miss };
  }
  if (nearest === undefined) return NO_MATCHING_RULE;
  const { rule, miss } = nearest;
  return { allowed: false, ruleId: OF_NO_ONE_RULE.has(miss) ? null : rule.id, reason: miss };
}

function toShadow(would: Decision, policyVersion: string): ShadowDecision {
  return {
    ruleId: would.ruleId ?? '',
    would: would.allowed ? 'allow' : 'deny',
    reason: would.allowed ? '' : would.reason,
    policyVersion,
  };
}
