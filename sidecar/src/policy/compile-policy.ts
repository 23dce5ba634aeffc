import { createHash } from 'node:crypto';
import type { Contract } from '@gatehouse/contracts';
import { Effect, type Rule } from '@gatehouse/contracts/policy';
import { type DocumentProblem, readDocument } from '@gatehouse/documents';
import { type IdentityPattern, parseIdentityPattern } from './identity-pattern.ts';
import { compileLimit } from './limits.ts';
import { ModelMatcher } from './model-matcher.ts';
import { type CompiledRule, Policy } from './policy.ts';
import { policySchema } from './policy-schema.ts';
import { compileProtection } from './protections.ts';
import { pathsOf } from './schema-parts.ts';
import { toDocument } from './to-document.ts';

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
  const limits = document.limits.map((limit) => compileLimit(limit, contract));
  const protections = document.protections.map((protection) => compileProtection(protection, contract));
  const digest = createHash('sha256').update(text).digest('hex');
  return { policy: new Policy({ document, digest, rules, limits, protections, contract }) };
}

function byPlace(one: DocumentProblem, other: DocumentProblem): number {
  return one.line - other.line || one.column - other.column;
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
