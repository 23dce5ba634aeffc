import type { Contract } from '@gatehouse/contracts';
import type { PolicyDocument } from '@gatehouse/contracts/policy';
import { ClaimsReader } from './claims.ts';
import { type CompiledRule, concerns } from './compiled-rule.ts';
import { type IdentityPattern, parseIdentityPattern } from './identity-pattern.ts';
import { IdentityRules } from './identity-rules.ts';
import type { CompiledLimit } from './limits.ts';
import type { CompiledProtection } from './protections.ts';
import { claimKindsOf } from './to-claim-kinds.ts';

const NONE: readonly never[] = [];
const IDENTITIES_CACHED_MAX = 1024;

/** What a policy is made of. */
export interface PolicyParts {
  readonly document: PolicyDocument;
  readonly digest: string;
  readonly rules: readonly CompiledRule[];
  readonly limits: readonly CompiledLimit[];
  readonly protections: readonly CompiledProtection[];
  readonly contract: Contract;
}

/** A policy document, compiled. Nothing in it changes. */
export class Policy {
  /** With all that it includes. */
  readonly document: PolicyDocument;
  /** SHA-256 of the document's text and of all that it includes, in hex. */
  readonly digest: string;
  /** The author's version with the first twelve digits of the digest: `v3@1f2e3d4c5b6a`. */
  readonly version: string;
  /** In the document's order. */
  readonly rules: readonly CompiledRule[];
  readonly limits: readonly CompiledLimit[];
  readonly protections: readonly CompiledProtection[];
  /** The contract that the document was compiled against. */
  readonly contract: Contract;
  /** The document that is in shadow beside this one: it decides and does not act. */
  readonly shadow: Policy | null;
  readonly #parts: PolicyParts;
  readonly #byId: ReadonlyMap<string, CompiledRule>;
  readonly #byIdentity = new Map<string, CompiledRule[]>();
  readonly #withWildcards: readonly CompiledRule[];
  readonly #readers: ReadonlyMap<string, ClaimsReader>;
  readonly #cache = new Map<string, IdentityRules>();

  constructor(parts: PolicyParts, shadow: Policy | null = null) {
    this.#parts = parts;
    this.document = parts.document;
    this.digest = parts.digest;
    this.version = `${parts.document.version}@${parts.digest.slice(0, 12)}`;
    this.rules = parts.rules;
    this.limits = parts.limits;
    this.protections = parts.protections;
    this.contract = parts.contract;
    this.shadow = shadow;
    this.#byId = new Map(parts.rules.map((rule) => [rule.id, rule]));
    this.#withWildcards = parts.rules.filter((rule) => rule.identities.some((identity) => !identity.isExact));
    for (const rule of parts.rules) {
      for (const identity of rule.identities) if (identity.isExact) this.#listFor(identity).push(rule);
    }
    this.#readers = new Map(
      parts.document.jwtIssuers.map((issuer) => [issuer.name, new ClaimsReader(claimKindsOf(issuer))]),
    );
  }

  /** The same policy with another one in shadow beside it. */
  withShadow(shadow: Policy | null): Policy {
    return new Policy(this.#parts, shadow);
  }

  rule(id: string): CompiledRule | undefined {
    return this.#byId.get(id);
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
    const parsed = parseIdentityPattern(spiffeId);
    const identity = parsed?.isExact ? parsed : undefined;
    const common = {
      caller: { id: spiffeId, trust_domain: identity?.trustDomain ?? '', path: identity?.segments ?? NONE },
      policyVersion: this.version,
      readers: this.#readers,
      beside: this.shadow?.forIdentity(spiffeId) ?? null,
    };
    if (identity === undefined)
      return new IdentityRules({ ...common, rules: NONE, limits: NONE, protections: NONE });
    const matching = this.#withWildcards.filter((rule) => concerns(rule, identity));
    return new IdentityRules({
      ...common,
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
