import { CONTRACT_VERSION_PATTERN, type Contract } from '@gatehouse/contracts';
import { z } from 'zod';
import { TRUST_DOMAIN_PATTERN } from './identity-pattern.ts';
import { jwtIssuerSchema } from './jwt-issuer-schema.ts';
import { limitSchema } from './limit-schema.ts';
import { customDetectorSchema, protectionSchema } from './protection-schema.ts';
import { ruleSchema } from './rule-schema.ts';
import { ALWAYS, enumSchema, NAMES_MAX } from './schema-parts.ts';

const RULES_MAX = 10_000;
const INCLUDES_MAX = 100;

/** What a document and the files that it includes have in common. */
function sections(contract: Contract | undefined) {
  return {
    includes: z
      .array(
        z
          .string()
          .min(1, 'expected a file')
          .max(1024)
          .refine((file) => !file.startsWith('/') && !file.includes('\\'), 'expected a relative path'),
      )
      .max(INCLUDES_MAX, `expected at most ${INCLUDES_MAX} files`)
      .optional(),
    jwtIssuers: z.array(jwtIssuerSchema()).max(NAMES_MAX).optional(),
    rules: z.array(ruleSchema(contract)).max(RULES_MAX, `expected at most ${RULES_MAX} rules`).optional(),
    limits: z.array(limitSchema(contract)).max(NAMES_MAX).optional(),
    detectors: z.array(customDetectorSchema()).max(NAMES_MAX).optional(),
    protections: z.array(protectionSchema(contract)).max(NAMES_MAX).optional(),
  };
}

/**
 * The policy document in YAML: the JSON names of gatehouse.policy.v1.PolicyDocument. With a contract, methods and
 * permissions have to be the contract's; without one their form alone is checked. What lies between entries is checked
 * over all files at once, elsewhere.
 */
function policySchema(contract: Contract | undefined) {
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
      contractDigest: z
        .string()
        .regex(/^[0-9a-f]{12,64}$/, 'expected at least twelve digits of a SHA-256, in hex')
        .optional(),
      contractVersion: z
        .string('expected a version such as 1.4.0')
        .regex(CONTRACT_VERSION_PATTERN, 'expected a version such as 1.4.0')
        .optional(),
      ...sections(contract),
      audit: z
        .strictObject({
          allowedSampleRatio: z.number().min(0, 'expected 0 to 1').max(1, 'expected 0 to 1').optional(),
          answerWaits: z.boolean().optional(),
          onFailure: enumSchema('AUDIT_FAILURE_', ['REFUSE', 'CONTINUE']).optional(),
        })
        .optional(),
    })
    .superRefine((document, context) => {
      if (document.rules !== undefined || document.includes !== undefined) return;
      context.addIssue({ code: 'invalid_type', expected: 'array', path: ['rules'], input: undefined });
    }, ALWAYS);
}

/** A file that a document includes. */
function includedSchema(contract: Contract | undefined) {
  return z.strictObject(sections(contract));
}

interface Schemas {
  readonly document: ReturnType<typeof policySchema>;
  readonly included: ReturnType<typeof includedSchema>;
}

/** A schema takes longer to make than a document to read. */
const SCHEMAS = new WeakMap<Contract, Schemas>();

/** The schemas of a document and of what it includes, made once for each contract. */
export function schemasOf(contract: Contract): Schemas {
  let schemas = SCHEMAS.get(contract);
  if (schemas === undefined) {
    schemas = { document: policySchema(contract), included: includedSchema(contract) };
    SCHEMAS.set(contract, schemas);
  }
  return schemas;
}

/** What the schema gives. */
export type PolicyInput = z.infer<ReturnType<typeof policySchema>>;
export type IncludedInput = z.infer<ReturnType<typeof includedSchema>>;

/** The JSON schema of the document (draft 2020-12), for editors. */
export function policyJsonSchema(): object {
  return z.toJSONSchema(policySchema(undefined), { io: 'input' });
}
