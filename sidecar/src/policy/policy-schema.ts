import type { Contract } from '@gatehouse/contracts';
import { z } from 'zod';
import { parseIdentityPattern, TRUST_DOMAIN_PATTERN } from './identity-pattern.ts';
import { jwtIssuerSchema } from './jwt-issuer-schema.ts';
import { limitSchema } from './limit-schema.ts';
import { customDetectorSchema, protectionSchema } from './protection-schema.ts';
import { ruleSchema } from './rule-schema.ts';
import { ALWAYS, enumSchema, listOf, NAMES_MAX, type Report, suggestion } from './schema-parts.ts';

const RULES_MAX = 10_000;

/**
 * The policy document in YAML: the JSON names of gatehouse.policy.v1.PolicyDocument. With a contract, methods and
 * permissions have to be the contract's; without one their form alone is checked.
 */
export function policySchema(contract: Contract | undefined) {
  return z
    .strictObject({
      version: z
        .string()
        .min(1, 'expected the name of this version')
        .max(64, 'expected at most 64 characters'),
      trustDomains: z
        .array(z.string().regex(TRUST_DOMAIN_PATTERN, 'expected a trust domain such as gatehouse.local'))
        .min(1, 'expected at least one trust domain')
        .max(NAMES_MAX),
      jwtIssuers: z.array(jwtIssuerSchema()).max(NAMES_MAX).optional(),
      rules: z.array(ruleSchema(contract)).max(RULES_MAX, `expected at most ${RULES_MAX} rules`),
      limits: z.array(limitSchema(contract)).max(NAMES_MAX).optional(),
      detectors: z.array(customDetectorSchema()).max(NAMES_MAX).optional(),
      protections: z.array(protectionSchema(contract)).max(NAMES_MAX).optional(),
      audit: z
        .strictObject({
          allowedSampleRatio: z.number().min(0, 'expected 0 to 1').max(1, 'expected 0 to 1').optional(),
          answerWaits: z.boolean().optional(),
          onFailure: enumSchema('AUDIT_FAILURE_', ['REFUSE', 'CONTINUE']).optional(),
        })
        .optional(),
    })
    .superRefine((document, context) => {
      const report: Report = (path, message, input) =>
        context.addIssue({ code: 'custom', path: [...path], message, input });
      reportRepeated(listOf(document.jwtIssuers), ['jwtIssuers'], 'name', report);
      reportRepeated(listOf(document.jwtIssuers), ['jwtIssuers'], 'issuer', report);
      for (const key of ['rules', 'limits', 'protections'] as const)
        reportRepeated(listOf<object>(document[key]), [key], 'id', report);
      reportRepeated(listOf(document.detectors), ['detectors'], 'name', report);
      reportUnknownIssuers(document, report);
      reportForeignIdentities(document, report);
    }, ALWAYS);
}

/** What the schema gives. */
export type PolicyInput = z.infer<ReturnType<typeof policySchema>>;

/** The JSON schema of the document (draft 2020-12), for editors. */
export function policyJsonSchema(): object {
  return z.toJSONSchema(policySchema(undefined), { io: 'input' });
}

function reportRepeated(
  entries: readonly object[],
  path: readonly PropertyKey[],
  key: string,
  report: Report,
): void {
  const seen = new Set<unknown>();
  for (const [index, entry] of entries.entries()) {
    const name: unknown = (entry as Readonly<Record<string, unknown>> | null)?.[key];
    if (name === undefined) continue;
    if (seen.has(name)) report([...path, index, key], 'expected a value that is given once', name);
    seen.add(name);
  }
}

function reportUnknownIssuers(document: PolicyInput, report: Report): void {
  const names = listOf(document.jwtIssuers).map((issuer) => issuer.name);
  for (const [index, rule] of listOf(document.rules).entries()) {
    const issuer: unknown = rule.token?.issuer;
    if (typeof issuer !== 'string' || names.includes(issuer)) continue;
    report(
      ['rules', index, 'token', 'issuer'],
      `expected the name of one of jwtIssuers${suggestion(issuer, names)}`,
      issuer,
    );
  }
}

function reportForeignIdentities(document: PolicyInput, report: Report): void {
  const domains = listOf(document.trustDomains);
  for (const [index, rule] of listOf(document.rules).entries()) {
    for (const [place, text] of listOf(rule.identities).entries()) {
      const identity = parseIdentityPattern(String(text));
      if (identity === undefined || domains.includes(identity.trustDomain)) continue;
      const hint = suggestion(identity.trustDomain, domains);
      report(
        ['rules', index, 'identities', place],
        `expected an identity of one of trustDomains${hint}`,
        text,
      );
    }
  }
}
