import type { Contract, ContractMethod } from '@gatehouse/contracts';
import type { PolicyDocument } from '@gatehouse/contracts/policy';
import { type IdentityPattern, matchesIdentity, parseIdentityPattern } from './identity-pattern.ts';
import { type CompiledLimit, limitNeeds } from './limits.ts';
import type { ModelMatcher } from './model-matcher.ts';
import type { CompiledProtection } from './protections.ts';

/** A verified end-user token, as far as rules look at it. */
export interface TokenFacts {
  /** The issuer's name in the policy document. */
  readonly issuer: string;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** What a decision is about, beside the caller. */
export interface DecisionRequest {
  readonly method: ContractMethod;
  /** Null: the request names none, or it has not been read. */
  readonly model: string | null;
  /** Null: the call brings none. */
  readonly token: TokenFacts | null;
}

/** Why the rules that concern a caller and a method do not allow a call, the nearest to allowing it first. */
type DenialReason =
  | 'DENIED_BY_RULE'
  | 'TOKEN_CLAIMS'
  | 'TOKEN_REQUIRED'
  | 'MODEL_NOT_ALLOWED'
  | 'MODEL_REQUIRED'
  | 'NO_MATCHING_RULE';

export type Decision =
  | { readonly allowed: true; readonly ruleId: string }
  /** `ruleId`: the rule that denied, or whose token the call lacks; null where no one rule is to blame. */
  | { readonly allowed: false; readonly ruleId: string | null; readonly reason: DenialReason };

/** What keeps a rule that concerns the caller and the method from matching a call. */
export type Miss = Exclude<DenialReason, 'DENIED_BY_RULE' | 'NO_MATCHING_RULE'>;

/** One rule, ready to be decided by. */
export interface CompiledRule {
  readonly id: string;
  readonly effect: 'ALLOW' | 'DENY';
  readonly identities: readonly IdentityPattern[];
  readonly paths: ReadonlySet<string>;
  /** Null: any model, or none. */
  readonly models: ModelMatcher | null;
  /** Null: no token is asked for. */
  readonly token: CompiledToken | null;
  /** What the rule decides when it matches. */
  readonly decision: Decision;
}

interface CompiledToken {
  readonly issuer: string;
  readonly claims: readonly { readonly name: string; readonly values: ReadonlySet<string> }[];
}

const NEARNESS: readonly Miss[] = ['TOKEN_CLAIMS', 'TOKEN_REQUIRED', 'MODEL_NOT_ALLOWED', 'MODEL_REQUIRED'];
const NO_MATCHING_RULE: Decision = { allowed: false, ruleId: null, reason: 'NO_MATCHING_RULE' };

/** Null: the rule matches. Identity and method are taken as matched. */
export function missOf(rule: CompiledRule, request: DecisionRequest): Miss | null {
  if (rule.models !== null) {
    if (request.model === null) return 'MODEL_REQUIRED';
    if (!rule.models.matches(request.model)) return 'MODEL_NOT_ALLOWED';
  }
  if (rule.token !== null) {
    const { token } = request;
    if (token === null || token.issuer !== rule.token.issuer) return 'TOKEN_REQUIRED';
    if (!rule.token.claims.every(({ name, values }) => hasClaim(token.claims, name, values)))
      return 'TOKEN_CLAIMS';
  }
  return null;
}

/** Texts, numbers and booleans are compared by their text. */
function hasClaim(
  claims: Readonly<Record<string, unknown>>,
  name: string,
  values: ReadonlySet<string>,
): boolean {
  const claim = Object.hasOwn(claims, name) ? claims[name] : undefined;
  const candidates: readonly unknown[] = Array.isArray(claim) ? claim : [claim];
  return candidates.some(
    (candidate) =>
      (typeof candidate === 'string' || typeof candidate === 'number' || typeof candidate === 'boolean') &&
      values.has(String(candidate)),
  );
}

/** All that concerns one caller and one method. */
interface MethodRules {
  readonly denies: CompiledRule[];
  readonly allows: CompiledRule[];
  readonly limits: readonly CompiledLimit[];
  readonly protections: readonly CompiledProtection[];
  needsRequest: boolean;
  needsToken: boolean;
}

/** The rules that concern one caller, by method. A decision costs one look-up and the rules for that method alone. */
export class IdentityRules {
  readonly #methods = new Map<string, MethodRules>();
  readonly #limits: readonly CompiledLimit[];
  readonly #protections: readonly CompiledProtection[];

  /** Of each kind what names the caller. */
  constructor(of: {
    readonly rules: readonly CompiledRule[];
    readonly limits: readonly CompiledLimit[];
    readonly protections: readonly CompiledProtection[];
  }) {
    this.#limits = of.limits;
    this.#protections = of.protections;
    for (const rule of of.rules) for (const path of rule.paths) this.#add(rule, path);
  }

  /** Whether a rule, a limit or a protection looks at the request's message, so that it has to be read first. */
  needsRequest(method: ContractMethod): boolean {
    return this.#methods.get(method.path)?.needsRequest ?? false;
  }

  /** The limits that concern the method; which of them concern the model, each says itself. */
  limits(method: ContractMethod): readonly CompiledLimit[] {
    return this.#methods.get(method.path)?.limits ?? NONE;
  }

  /** The protections that concern the method; which of them concern the model, each says itself. */
  protections(method: ContractMethod): readonly CompiledProtection[] {
    return this.#methods.get(method.path)?.protections ?? NONE;
  }

  /** Whether a rule or a limit looks at an end-user token, so that one that comes has to be verified. */
  needsToken(method: ContractMethod): boolean {
    return this.#methods.get(method.path)?.needsToken ?? false;
  }

  /**
   * A rule that denies wins over all that allow. Fails closed: a rule with models or a token matches only where the call
   * has them, and what no rule allows is denied.
   */
  decide(request: DecisionRequest): Decision {
    const rules = this.#methods.get(request.method.path);
    if (rules === undefined) return NO_MATCHING_RULE;
    for (const rule of rules.denies) if (missOf(rule, request) === null) return rule.decision;
    let nearest: { readonly rule: CompiledRule; readonly miss: Miss } | undefined;
    for (const rule of rules.allows) {
      const miss = missOf(rule, request);
      if (miss === null) return rule.decision;
      if (nearest === undefined || NEARNESS.indexOf(miss) < NEARNESS.indexOf(nearest.miss))
        nearest = { rule, miss };
    }
    if (nearest === undefined) return NO_MATCHING_RULE;
    const { rule, miss } = nearest;
    const isOfOneRule = miss === 'TOKEN_CLAIMS' || miss === 'TOKEN_REQUIRED';
    return { allowed: false, ruleId: isOfOneRule ? rule.id : null, reason: miss };
  }

  #add(rule: CompiledRule, path: string): void {
    let rules = this.#methods.get(path);
    if (rules === undefined) {
      rules = this.#beginMethod(path);
      this.#methods.set(path, rules);
    }
    (rule.effect === 'DENY' ? rules.denies : rules.allows).push(rule);
    if (rule.models !== null) rules.needsRequest = true;
    if (rule.token !== null) rules.needsToken = true;
  }

  #beginMethod(path: string): MethodRules {
    const limits = this.#limits.filter(({ match }) => match.hasPath(path));
    const protections = this.#protections.filter(({ match }) => match.hasPath(path));
    const needs = limits.map(limitNeeds);
    return {
      denies: [],
      allows: [],
      limits,
      protections,
      needsRequest: needs.some(({ request }) => request) || protections.some(({ onRequest }) => onRequest),
      needsToken: needs.some(({ token }) => token),
    };
  }
}

const NONE: readonly never[] = [];
const IDENTITIES_CACHED_MAX = 1024;

/** A policy document, compiled. Nothing in it changes. */
export class Policy {
  readonly document: PolicyDocument;
  /** SHA-256 of the document's text, in hex. */
  readonly digest: string;
  /** The author's version with the first twelve digits of the digest: `v3@1f2e3d4c5b6a`. */
  readonly version: string;
  /** In the document's order. */
  readonly rules: readonly CompiledRule[];
  readonly limits: readonly CompiledLimit[];
  readonly protections: readonly CompiledProtection[];
  /** The contract that the document was compiled against. */
  readonly contract: Contract;
  readonly #byIdentity = new Map<string, CompiledRule[]>();
  readonly #withWildcards: readonly CompiledRule[];
  readonly #cache = new Map<string, IdentityRules>();

  constructor(facts: {
    document: PolicyDocument;
    digest: string;
    rules: readonly CompiledRule[];
    limits: readonly CompiledLimit[];
    protections: readonly CompiledProtection[];
    contract: Contract;
  }) {
    this.document = facts.document;
    this.digest = facts.digest;
    this.version = `${facts.document.version}@${facts.digest.slice(0, 12)}`;
    this.rules = facts.rules;
    this.limits = facts.limits;
    this.protections = facts.protections;
    this.contract = facts.contract;
    this.#withWildcards = facts.rules.filter((rule) => rule.identities.some((identity) => !identity.isExact));
    for (const rule of facts.rules) {
      for (const identity of rule.identities) if (identity.isExact) this.#listFor(identity).push(rule);
    }
  }

  /**
   * The rules that concern a caller. Meant to be asked once for each connection; the last 1024 identities are kept. What
   * is not a SPIFFE ID with a path has no rules.
   */
  forIdentity(spiffeId: string): IdentityRules {
    const cached = this.#cache.get(spiffeId);
    if (cached !== undefined) return cached;
    const rules = this.#gatherFor(spiffeId);
    if (this.#cache.size >= IDENTITIES_CACHED_MAX) {
      const [oldest] = this.#cache.keys();
      if (oldest !== undefined) this.#cache.delete(oldest);
    }
    this.#cache.set(spiffeId, rules);
    return rules;
  }

  #gatherFor(spiffeId: string): IdentityRules {
    const identity = parseIdentityPattern(spiffeId);
    if (!identity?.isExact) return new IdentityRules({ rules: NONE, limits: NONE, protections: NONE });
    const matching = this.#withWildcards.filter((rule) => concerns(rule, identity));
    return new IdentityRules({
      rules: [...new Set([...(this.#byIdentity.get(spiffeId) ?? []), ...matching])],
      limits: this.limits.filter(({ match }) => match.concerns(identity)),
      protections: this.protections.filter(({ match }) => match.concerns(identity)),
    });
  }

  #listFor(identity: IdentityPattern): CompiledRule[] {
    const key = `spiffe://${identity.trustDomain}/${identity.segments.join('/')}`;
    const list = this.#byIdentity.get(key) ?? [];
    this.#byIdentity.set(key, list);
    return list;
  }
}

/** Whether a rule names an identity. */
export function concerns(rule: CompiledRule, identity: IdentityPattern): boolean {
  return rule.identities.some((pattern) => matchesIdentity(pattern, identity));
}
