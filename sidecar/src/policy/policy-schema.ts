import { type Contract, nearestName } from '@gatehouse/contracts';
import { z } from 'zod';
import { parseIdentityPattern, TRUST_DOMAIN_PATTERN } from './identity-pattern.ts';

const RULES_MAX = 10_000;
const NAMES_MAX = 1000;
const CLOCK_SKEW_SECONDS_MAX = 300;

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

/** Checks between keys run although a key has a problem of its own, so that all problems show at once. */
const ALWAYS = { when: ({ value }: { value: unknown }) => typeof value === 'object' && value !== null };

type Report = (path: readonly PropertyKey[], message: string, input?: unknown) => void;

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
    })
    .superRefine((document, context) => {
      const report: Report = (path, message, input) =>
        context.addIssue({ code: 'custom', path: [...path], message, input });
      reportRepeated(listOf(document.jwtIssuers), ['jwtIssuers'], 'name', report);
      reportRepeated(listOf(document.jwtIssuers), ['jwtIssuers'], 'issuer', report);
      reportRepeated(listOf(document.rules), ['rules'], 'id', report);
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

function jwtIssuerSchema() {
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
    })
    .superRefine((issuer, context) => {
      if ((issuer.jwksFile === undefined) === (issuer.jwksUrl === undefined)) {
        const input = issuer.jwksFile && [issuer.jwksFile, issuer.jwksUrl];
        context.addIssue({ code: 'custom', message: 'expected one of jwksFile and jwksUrl', input });
      }
    }, ALWAYS);
}

function ruleSchema(contract: Contract | undefined) {
  return z
    .strictObject({
      id: z
        .string()
        .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, 'expected letters, digits, `.`, `_` and `-`'),
      description: z.string().max(4096).optional(),
      effect: enumSchema('EFFECT_', ['ALLOW', 'DENY']),
      identities: z
        .array(
          z.string().refine((text) => parseIdentityPattern(text) !== undefined, {
            error:
              'expected a SPIFFE ID such as spiffe://gatehouse.local/ns/*/sa/inference, `**` only at the end',
          }),
        )
        .min(1, 'expected at least one identity')
        .max(NAMES_MAX),
      methods: z.array(methodSchema(contract)).max(NAMES_MAX).optional(),
      permissions: z.array(permissionSchema(contract)).max(NAMES_MAX).optional(),
      models: z
        .array(z.string().min(1, 'expected a model name').max(256, 'expected at most 256 characters'))
        .min(1, 'expected at least one model; without the key any model matches')
        .max(NAMES_MAX)
        .optional(),
      token: z
        .strictObject({
          issuer: z.string(),
          claims: z
            .array(
              z.strictObject({
                name: z.string().min(1, 'expected the name of a claim').max(256),
                values: z.array(z.string().max(2048)).min(1, 'expected at least one value').max(NAMES_MAX),
              }),
            )
            .min(1, 'expected at least one claim; without the key none is asked for')
            .max(64, 'expected at most 64 claims')
            .optional(),
        })
        .optional(),
    })
    .superRefine((rule, context) => {
      if (listOf(rule.methods).length + listOf(rule.permissions).length === 0) {
        context.addIssue({ code: 'custom', message: 'expected methods or permissions', input: undefined });
      } else if (contract !== undefined) reportUselessModels(rule, contract, context);
    }, ALWAYS);
}

/** Names of an enum, with or without the prefix that protobuf asks for. */
function enumSchema<Name extends string>(prefix: string, names: readonly Name[]) {
  const all = [...names, ...names.map((name) => `${prefix}${name}` as const)];
  return z.enum(all, `expected one of ${names.join(', ')}`);
}

const METHOD_PATTERN = /^(\w+\.)*\w+\/(\w+|\*)$/;
const METHOD_FORM = 'expected pkg.Service/Method or pkg.Service/*';

function methodSchema(contract: Contract | undefined) {
  if (contract === undefined) return z.string().regex(METHOD_PATTERN, METHOD_FORM);
  const names = [...contract.methods.keys()].map((path) => path.slice(1));
  const services = [...contract.methods.values()].map((method) => `${method.service}/*`);
  const known = new Set([...names, ...services]);
  return z.string().refine((name) => known.has(name), {
    error: ({ input }) => {
      if (!METHOD_PATTERN.test(String(input))) return METHOD_FORM;
      return contract.unclassifiedMethods.includes(`/${String(input)}`)
        ? 'expected a method with a permission; the contract gives this one none, so nobody may call it'
        : `expected a method of the contract${suggestion(input, known)}`;
    },
  });
}

function permissionSchema(contract: Contract | undefined) {
  if (contract === undefined) return z.string().min(1);
  const known = new Set([...contract.methods.values()].map((method) => method.permission));
  return z.string().refine((name) => known.has(name), {
    error: ({ input }) => `expected a permission of the contract${suggestion(input, known)}`,
  });
}

function suggestion(name: unknown, known: Iterable<string>): string {
  const nearest = nearestName(String(name), known);
  return nearest === undefined ? '' : `; did you mean ${nearest}?`;
}

/** The methods that a rule names, by path. */
export function pathsOf(
  rule: { readonly methods?: readonly string[]; readonly permissions?: readonly string[] },
  contract: Contract,
): string[] {
  const names = new Set(rule.methods);
  const permissions = new Set(rule.permissions);
  return [...contract.methods.values()]
    .filter(
      ({ path, service, permission }) =>
        names.has(path.slice(1)) || names.has(`${service}/*`) || permissions.has(permission),
    )
    .map(({ path }) => path);
}

function reportUselessModels(
  rule: PolicyInput['rules'][number],
  contract: Contract,
  context: z.RefinementCtx,
): void {
  if (listOf(rule.models).length === 0) return;
  const paths = pathsOf({ methods: listOf(rule.methods), permissions: listOf(rule.permissions) }, contract);
  const isKnown = paths.some((path) => contract.methods.get(path)?.requestFields?.readsModel);
  if (isKnown || paths.length === 0) return;
  const message =
    'expected no models: no method of this rule has a model in its request, so the rule could never match';
  context.addIssue({ code: 'custom', path: ['models'], message, input: rule.models });
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

/** The list, or an empty one in place of what has a problem of its own. */
function listOf<T>(list: readonly T[] | undefined): readonly T[] {
  return Array.isArray(list)
    ? (list as readonly T[]).filter((entry) => entry !== null && entry !== undefined)
    : [];
}
