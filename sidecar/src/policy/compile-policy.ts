import { createHash } from 'node:crypto';
import type { Contract } from '@gatehouse/contracts';
import {
  Effect,
  type JwtIssuer,
  type PolicyDocument,
  type Rule,
  TokenBinding,
} from '@gatehouse/contracts/policy';
import { type DocumentProblem, readDocument } from '@gatehouse/documents';
import { type IdentityPattern, parseIdentityPattern } from './identity-pattern.ts';
import { ModelMatcher } from './model-matcher.ts';
import { type CompiledRule, Policy } from './policy.ts';
import { type PolicyInput, pathsOf, policySchema } from './policy-schema.ts';

/** The tolerance for `exp` and `nbf` where an issuer states none. */
const CLOCK_SKEW_SECONDS_DEFAULT = 30;

/**
 * Compiles a policy document against a contract, whole or not at all: one problem anywhere refuses it, and all problems
 * are given at once. Rules with models leave out those of their methods whose request names no model.
 */
export function compilePolicy(
  text: string,
  { contract, fileName }: { readonly contract: Contract; readonly fileName: string },
): { policy: Policy } | { problems: readonly DocumentProblem[] } {
  const read = readDocument(policySchema(contract), text, fileName);
  if ('problems' in read) return { problems: read.problems.toSorted(byPlace) };
  const document = toDocument(read.value);
  const rules = document.rules.map((rule) => compileRule(rule, contract));
  const digest = createHash('sha256').update(text).digest('hex');
  return { policy: new Policy({ document, digest, rules, contract }) };
}

function byPlace(one: DocumentProblem, other: DocumentProblem): number {
  return one.line - other.line || one.column - other.column;
}

function toDocument(input: PolicyInput): PolicyDocument {
  return {
    version: input.version,
    trustDomains: input.trustDomains,
    jwtIssuers: (input.jwtIssuers ?? []).map(toIssuer),
    rules: input.rules.map(toRule),
  };
}

function toIssuer(input: NonNullable<PolicyInput['jwtIssuers']>[number]): JwtIssuer {
  const { jwksFile, jwksUrl, binding, ...rest } = input;
  const isBoundTo = (name: string): boolean => binding?.endsWith(name) ?? false;
  return {
    ...rest,
    jwks:
      jwksUrl === undefined
        ? { $case: 'jwksFile', value: jwksFile ?? '' }
        : { $case: 'jwksUrl', value: jwksUrl },
    clockSkewSeconds: input.clockSkewSeconds ?? CLOCK_SKEW_SECONDS_DEFAULT,
    binding: isBoundTo('CERTIFICATE')
      ? TokenBinding.TOKEN_BINDING_CERTIFICATE
      : isBoundTo('SPIFFE_CLAIM')
        ? TokenBinding.TOKEN_BINDING_SPIFFE_CLAIM
        : TokenBinding.TOKEN_BINDING_UNSPECIFIED,
  };
}

function toRule(input: PolicyInput['rules'][number]): Rule {
  return {
    id: input.id,
    description: input.description ?? '',
    effect: input.effect.endsWith('DENY') ? Effect.EFFECT_DENY : Effect.EFFECT_ALLOW,
    identities: input.identities,
    methods: input.methods ?? [],
    permissions: input.permissions ?? [],
    models: input.models ?? [],
    token: input.token && { issuer: input.token.issuer, claims: input.token.claims ?? [] },
  };
}

function compileRule(rule: Rule, contract: Contract): CompiledRule {
  const isDeny = rule.effect === Effect.EFFECT_DENY;
  const models = rule.models.length > 0 ? new ModelMatcher(rule.models) : null;
  const paths = pathsOf(rule, contract);
  return {
    id: rule.id,
    effect: isDeny ? 'DENY' : 'ALLOW',
    identities: rule.identities.map((text) => parseIdentityPattern(text) as IdentityPattern),
    paths: new Set(
      models === null ? paths : paths.filter((path) => contract.methods.get(path)?.requestFields?.readsModel),
    ),
    models,
    token: rule.token
      ? {
          issuer: rule.token.issuer,
          claims: rule.token.claims.map(({ name, values }) => ({ name, values: new Set(values) })),
        }
      : null,
    decision: isDeny
      ? { allowed: false, ruleId: rule.id, reason: 'DENIED_BY_RULE' }
      : { allowed: true, ruleId: rule.id },
  };
}
