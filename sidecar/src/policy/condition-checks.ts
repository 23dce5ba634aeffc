import type { Contract } from '@gatehouse/contracts';
import { KIND_NAMES, REGISTERED_CLAIMS } from './claims.ts';
import {
  type Condition,
  type ConditionCompiler,
  REQUEST_FIELDS,
  type RequestFieldName,
  type TokenTypes,
} from './condition.ts';
import type { Placed, ProblemList, SectionEntry } from './placed-entries.ts';
import { listOf, pathsOf, suggestion } from './schema-parts.ts';
import { claimKindOf, type TokenTypeTable } from './token-types.ts';

type RuleEntry = SectionEntry<'rules'>;
type IssuerEntry = SectionEntry<'jwtIssuers'>;

/** Checks conditions and claims of rules against the contract and against what issuers declare. */
export function checkConditions(
  of: {
    readonly rules: readonly Placed<RuleEntry>[];
    readonly issuers: readonly Placed<IssuerEntry>[];
    readonly contract: Contract;
    readonly compiler: ConditionCompiler;
    readonly types: TokenTypeTable;
  },
  problems: ProblemList,
): void {
  for (const issuer of of.issuers) checkDeclared(issuer, problems);
  for (const rule of of.rules) {
    const { condition } = rule.entry;
    const types = of.types.of(rule.entry.token?.issuer);
    checkClaims(rule, types, problems);
    if (typeof condition !== 'string' || condition === '') continue;
    const compiled = of.compiler.compile(condition, types);
    if ('problem' in compiled) problems.add(rule, ['condition'], compiled.problem, condition);
    else checkFields(rule, compiled.condition, of.contract, problems);
  }
}

function checkDeclared(issuer: Placed<IssuerEntry>, problems: ProblemList): void {
  for (const [name, type] of Object.entries(issuer.entry.claims ?? {})) {
    const registered = REGISTERED_CLAIMS.get(name);
    if (registered === undefined || claimKindOf(type) === registered) continue;
    problems.add(
      issuer,
      ['claims', name],
      `expected the type that the claim is registered with: ${KIND_NAMES[registered]}`,
      type,
    );
  }
}

/** The claims that a rule lists: whether the issuer has them, and whether they can have such values. */
function checkClaims(rule: Placed<RuleEntry>, types: TokenTypes, problems: ProblemList): void {
  const known = new Map([...REGISTERED_CLAIMS, ...(types.claims ?? [])]);
  for (const [index, claim] of listOf(rule.entry.token?.claims).entries()) {
    const kind = known.get(claim.name);
    const at = ['token', 'claims', index] as const;
    if (kind === undefined && types.isComplete) {
      const hint = suggestion(claim.name, known.keys());
      problems.add(rule, [...at, 'name'], `expected a claim that the issuer declares${hint}`, claim.name);
    }
    for (const [place, value] of listOf(claim.values).entries()) {
      if (typeof value !== 'string') continue;
      const fits = kind === 'int' ? /^-?\d+$/.test(value) : kind !== 'bool' || /^(true|false)$/.test(value);
      if (!fits && kind !== undefined)
        problems.add(rule, [...at, 'values', place], `expected ${KIND_NAMES[kind]}, as the claim is`, value);
    }
  }
}

/**
 * A field that no method of the rule has can never be there. A rule that denies would deny all calls of a method that lacks
 * it, because its condition fails there.
 */
function checkFields(
  rule: Placed<RuleEntry>,
  { reads, source }: Condition,
  contract: Contract,
  problems: ProblemList,
): void {
  const paths = pathsOf(
    { methods: listOf(rule.entry.methods), permissions: listOf(rule.entry.permissions) },
    contract,
  );
  if (paths.length === 0) return;
  const isDeny = rule.entry.effect === 'DENY' || rule.entry.effect === 'EFFECT_DENY';
  for (const name of reads.requestFields) {
    const field = REQUEST_FIELDS[name as RequestFieldName] as
      | (typeof REQUEST_FIELDS)[RequestFieldName]
      | undefined;
    if (field === undefined) continue; // The types have said so.
    // A version may stand in the model's own name.
    const roles = name === 'model_version' ? (['modelVersion', 'model'] as const) : ([field.role] as const);
    const lacking = paths.filter((path) => {
      const fields = contract.methods.get(path)?.requestFields;
      return !roles.some((role) => fields?.reads(role));
    });
    if (lacking.length === paths.length) {
      const form = `expected a condition about what the rule's methods have: no request of theirs has ${name}`;
      problems.add(rule, ['condition'], form, source);
    } else if (isDeny && lacking.length > 0 && !reads.guardedFields.has(name)) {
      const form = `expected has(request.${name}) before it is used: ${lacking[0]?.slice(1)} has none, and would always be denied`;
      problems.add(rule, ['condition'], form, source);
    }
  }
}
