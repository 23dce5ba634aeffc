import { nearestName } from '@gatehouse/contracts';
import { type DocumentPlace, type DocumentProblem, readDocument } from '@gatehouse/documents';
import { z } from 'zod';
import { DENIAL_REASONS, type Decision } from './compiled-rule.ts';
import { parseIdentityPattern } from './identity-pattern.ts';
import type { Policy } from './policy.ts';

/** One expectation and what the policy says to it. */
export interface ExpectationResult extends DocumentPlace {
  /** The caller's SPIFFE ID. */
  readonly from: string;
  /** `pkg.Service/Method` */
  readonly to: string;
  /** Null: the call names none. */
  readonly model: string | null;
  readonly expected: 'allow' | 'deny';
  /** Null: whichever rule. */
  readonly expectedRule: string | null;
  /** Null: whichever reason. */
  readonly expectedReason: string | null;
  readonly decision: Decision;
  readonly passed: boolean;
}

/**
 * Asks a policy about calls and compares its answers. What the policy could not be asked in earnest (a method that the
 * contract does not have, say) is a problem and no result: a misspelt call would be denied as expected.
 *
 * ```yaml
 * - { from: spiffe://gatehouse.local/ns/local/sa/intern, to: gatehouse.inference.v1.InferenceService/Generate,
 *     model: large@2, request: { maxOutputTokens: 512, priority: 1 }, at: 2026-11-22T20:00:00Z,
 *     token: { issuer: staff, claims: { team: [ml] } }, expect: deny, rule: no-large-models, reason: DENIED_BY_RULE }
 * ```
 * @param nowMs when calls without `at` are made
 */
export function runExpectations(
  text: string,
  { policy, fileName, nowMs }: { readonly policy: Policy; readonly fileName: string; readonly nowMs: number },
): { results: readonly ExpectationResult[] } | { problems: readonly DocumentProblem[] } {
  const read = readDocument(expectationsSchema(policy), text, fileName);
  if ('problems' in read) return read;
  const results = read.value.map((expectation, index): ExpectationResult => {
    const { from, to, model = null, token, request, at, expect: expected } = expectation;
    const { rule: expectedRule = null, reason: expectedReason = null } = expectation;
    const method = policy.contract.methods.get(`/${to}`);
    if (method === undefined) throw new Error(`the schema let the unknown method ${to} pass`);
    const facts = token === undefined ? null : { issuer: token.issuer, claims: token.claims ?? {} };
    const decision = policy.forIdentity(from).decide({
      method,
      model,
      outputTokensLimit: request?.maxOutputTokens ?? null,
      priority: request?.priority ?? null,
      token: facts,
      nowMs: at === undefined ? nowMs : Date.parse(at),
    });
    const passed =
      decision.allowed === (expected === 'allow') &&
      (expectedRule === null || decision.ruleId === expectedRule) &&
      (expectedReason === null || (!decision.allowed && decision.reason === expectedReason));
    return {
      ...read.placeOf([index]),
      from,
      to,
      model,
      expected,
      expectedRule,
      expectedReason,
      decision,
      passed,
    };
  });
  return { results };
}

function expectationsSchema(policy: Policy) {
  const methods = new Set([...policy.contract.methods.keys()].map((path) => path.slice(1)));
  const rules = new Set(policy.rules.map((rule) => rule.id));
  const issuers = new Set(policy.document.jwtIssuers.map((issuer) => issuer.name));
  return z
    .array(
      z.strictObject({
        from: z
          .string()
          .refine((text) => parseIdentityPattern(text)?.isExact ?? false, 'expected a SPIFFE ID'),
        to: oneOf(methods, 'a method of the contract'),
        model: z.string().min(1, 'expected a model name, or name@version').optional(),
        token: z
          .strictObject({
            issuer: oneOf(issuers, 'an issuer of the policy'),
            claims: z.record(z.string(), z.unknown()).optional(),
          })
          .optional(),
        request: z
          .strictObject({
            maxOutputTokens: z.int('expected a whole number').optional(),
            priority: z.int('expected a whole number').optional(),
          })
          .optional(),
        at: z.iso
          .datetime({ offset: true, error: 'expected a time such as 2026-11-22T20:00:00Z' })
          .optional(),
        expect: z.enum(['allow', 'deny'], 'expected allow or deny'),
        rule: oneOf(rules, 'a rule of the policy').optional(),
        reason: z.enum(DENIAL_REASONS, `expected one of ${DENIAL_REASONS.join(', ')}`).optional(),
      }),
    )
    .min(1, 'expected at least one expectation');
}

function oneOf(names: ReadonlySet<string>, what: string) {
  return z.string().refine((name) => names.has(name), {
    error: ({ input }) => {
      const nearest = nearestName(String(input), names);
      return `expected ${what}${nearest === undefined ? '' : `; did you mean ${nearest}?`}`;
    },
  });
}
