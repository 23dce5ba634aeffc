import type { ContractMethod } from '@gatehouse/contracts';
import type { ClaimsReader } from './claims.ts';
import type { Condition, ConditionAnswer, ConditionScope } from './condition.ts';
import { coversIdentity, type IdentityPattern } from './identity-pattern.ts';
import type { ModelMatcher } from './model-matcher.ts';
import { splitModel } from './model-name.ts';

/** A verified end-user token, as far as rules look at it. */
export interface TokenFacts {
  /** The issuer's name in the policy document. */
  readonly issuer: string;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** What a decision is about, beside the caller. */
export interface DecisionRequest {
  readonly method: ContractMethod;
  /** `name` or `name@version`. Null: the request names none, or it has not been read. */
  readonly model: string | null;
  /** Null: the request states none, or it has not been read. */
  readonly outputTokensLimit: number | null;
  readonly priority: number | null;
  /** Null: the call brings none. */
  readonly token: TokenFacts | null;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
}

/** Why the rules that concern a caller and a method do not allow a call. */
export const DENIAL_REASONS = [
  'DENIED_BY_RULE',
  'TOKEN_CLAIMS_MALFORMED',
  'CONDITION_FALSE',
  'CONDITION_FAILED',
  'TOKEN_CLAIMS',
  'TOKEN_REQUIRED',
  'MODEL_NOT_ALLOWED',
  'MODEL_REQUIRED',
  'NO_MATCHING_RULE',
] as const;

type DenialReason = (typeof DENIAL_REASONS)[number];

export type Decision =
  | { readonly allowed: true; readonly ruleId: string }
  /** `ruleId`: the rule that denied, or what one rule alone lacks; null where no one rule is to blame. */
  | { readonly allowed: false; readonly ruleId: string | null; readonly reason: DenialReason };

/** What keeps a rule that concerns the caller and the method from matching a call. */
export type Miss = Exclude<DenialReason, 'DENIED_BY_RULE' | 'TOKEN_CLAIMS_MALFORMED' | 'NO_MATCHING_RULE'>;

/** One rule, ready to be decided by. */
export interface CompiledRule {
  readonly id: string;
  readonly effect: 'ALLOW' | 'DENY';
  readonly identities: readonly IdentityPattern[];
  readonly paths: ReadonlySet<string>;
  /** Null: any model, or none. */
  readonly models: ModelMatcher | null;
  /** As the document writes them; empty: any model, or none. */
  readonly modelNames: readonly string[];
  /** Null: no token is asked for. */
  readonly token: CompiledToken | null;
  /** Null: none. */
  readonly condition: Condition | null;
  /** It decides and does not act. */
  readonly shadow: boolean;
  readonly owner: string;
  readonly labels: Readonly<Record<string, string>>;
  /** What the rule decides when it matches. */
  readonly decision: Decision;
}

interface CompiledToken {
  readonly issuer: string;
  readonly claims: readonly { readonly name: string; readonly values: ReadonlySet<string> }[];
}

/** Who asks, as conditions see it. */
export type CallerScope = ConditionScope['identity'];

/** What the conditions of one decision see; each part is made when the first of them looks at it. */
export class DecisionScope {
  readonly #caller: CallerScope;
  readonly #request: DecisionRequest;
  readonly #readers: ReadonlyMap<string, ClaimsReader>;
  #token: ConditionScope['token'] | null = null;
  #fields: ConditionScope['request'] | null = null;

  /** @param readers by the issuer's name */
  constructor(caller: CallerScope, request: DecisionRequest, readers: ReadonlyMap<string, ClaimsReader>) {
    this.#caller = caller;
    this.#request = request;
    this.#readers = readers;
  }

  /** Why the token's claims are not looked at; null when they can be, or there are none. */
  claimsProblem(): string | null {
    const { token } = this.#request;
    if (token === null) return null;
    const read = this.#readers.get(token.issuer)?.read(token.claims);
    return read !== undefined && 'malformed' in read ? read.malformed : null;
  }

  ask(condition: Condition): ConditionAnswer {
    const { reads } = condition;
    if (reads.token) this.#token ??= this.#makeToken();
    if (reads.requestFields.size > 0) this.#fields ??= this.#makeFields();
    return condition.evaluate({
      identity: this.#caller,
      token: this.#token ?? NOTHING,
      request: this.#fields ?? NOTHING,
      now: reads.now ? new Date(this.#request.nowMs) : NO_TIME,
    });
  }

  #makeToken(): ConditionScope['token'] {
    const { token } = this.#request;
    const read = token === null ? undefined : this.#readers.get(token.issuer)?.read(token.claims);
    return token !== null && read !== undefined && 'claims' in read
      ? { issuer: token.issuer, claims: read.claims }
      : NOTHING;
  }

  #makeFields(): ConditionScope['request'] {
    const { model, outputTokensLimit, priority } = this.#request;
    const fields: { -readonly [Key in keyof ConditionScope['request']]: ConditionScope['request'][Key] } = {};
    if (model !== null) {
      const { name, version } = splitModel(model);
      fields.model = name;
      if (version !== null) fields.model_version = version;
    }
    if (outputTokensLimit !== null) fields.max_output_tokens = BigInt(outputTokensLimit);
    if (priority !== null) fields.priority = BigInt(priority);
    return fields;
  }
}

const NOTHING = {};
const NO_TIME = new Date(0);

/**
 * Null: the rule matches. Identity and method are taken as matched. A condition that fails keeps a rule that allows from
 * matching, and makes one that denies match.
 */
export function missOf(rule: CompiledRule, request: DecisionRequest, scope: DecisionScope): Miss | null {
  const { models, token, condition } = rule;
  if (models !== null) {
    if (request.model === null) return 'MODEL_REQUIRED';
    if (!models.matches(request.model)) return 'MODEL_NOT_ALLOWED';
  }
  if (token !== null) {
    if (request.token === null || request.token.issuer !== token.issuer) return 'TOKEN_REQUIRED';
    const { claims } = request.token;
    if (!token.claims.every(({ name, values }) => hasClaim(claims, name, values))) return 'TOKEN_CLAIMS';
  }
  return condition === null ? null : conditionMiss(rule, condition, request, scope);
}

function conditionMiss(
  rule: CompiledRule,
  condition: Condition,
  request: DecisionRequest,
  scope: DecisionScope,
): Miss | null {
  const answer = scope.ask(condition);
  if (answer === 'true') return null;
  if (answer !== 'false' && rule.effect === 'DENY') return null;
  if (condition.reads.token && request.token === null) return 'TOKEN_REQUIRED';
  return answer === 'false' ? 'CONDITION_FALSE' : 'CONDITION_FAILED';
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

/** Whether a rule names an identity. */
export function concerns(rule: CompiledRule, identity: IdentityPattern): boolean {
  return rule.identities.some((pattern) => coversIdentity(pattern, identity));
}
