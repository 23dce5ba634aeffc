import { z } from 'zod';
import { ALWAYS, enumSchema, NAMES_MAX } from './schema-parts.ts';

const CLOCK_SKEW_SECONDS_MAX = 300;
const CLAIMS_MAX = 64;

/** Signatures by a private key (RFC 7518 §3.1, RFC 8037). Shared secrets and `none` are left out (RFC 8725 §3.1). */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const;

export function jwtIssuerSchema() {
  return z
    .strictObject({
      name: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'expected lower case letters, digits and hyphens'),
      issuer: z.string().min(1, 'expected the `iss` claim').max(2048),
      audiences: z.array(z.string().min(1).max(2048)).min(1, 'expected at least one audience').max(NAMES_MAX),
      algorithms: z
        .array(z.enum(ALGORITHMS, `expected one of ${ALGORITHMS.join(', ')}`))
        .min(1, 'expected at least one algorithm'),
      jwksFile: z.string().min(1, 'expected a file').optional(),
      jwksUrl: z
        .string()
        .regex(/^https:\/\/[^\s/?#@]+([/?]\S*)?$/, 'expected an https:// URL without credentials')
        .optional(),
      clockSkewSeconds: z
        .number()
        .multipleOf(1, 'expected a whole number')
        .min(0, 'expected at least 0')
        .max(CLOCK_SKEW_SECONDS_MAX, `expected at most ${CLOCK_SKEW_SECONDS_MAX}`)
        .optional(),
      binding: enumSchema('TOKEN_BINDING_', ['CERTIFICATE', 'SPIFFE_CLAIM']).optional(),
      claims: z
        .record(
          z.string().min(1, 'expected the name of a claim').max(256, 'expected at most 256 characters'),
          enumSchema('CLAIM_TYPE_', ['STRING', 'STRING_LIST', 'INT', 'BOOL']),
        )
        .refine((claims) => Object.keys(claims).length <= CLAIMS_MAX, `expected at most ${CLAIMS_MAX} claims`)
        .optional(),
    })
    .superRefine((issuer, context) => {
      if ((issuer.jwksFile === undefined) === (issuer.jwksUrl === undefined)) {
        const input = issuer.jwksFile && [issuer.jwksFile, issuer.jwksUrl];
        context.addIssue({ code: 'custom', message: 'expected one of jwksFile and jwksUrl', input });
      }
    }, ALWAYS);
}
