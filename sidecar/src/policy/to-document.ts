import { Sensitivity } from '@gatehouse/contracts/annotations';
import {
  AuditFailure,
  type AuditPolicy,
  type CallMatch,
  ClaimType,
  type CustomDetector,
  Direction,
  Effect,
  type JwtIssuer,
  type Limit,
  LimitStore,
  type PolicyDocument,
  type Protection,
  ProtectionAction,
  type Rule,
  StoreFailure,
  TokenBinding,
  WhenShort,
} from '@gatehouse/contracts/policy';
import type { PolicyInput } from './policy-schema.ts';

/** The tolerance for `exp` and `nbf` where an issuer states none. */
const CLOCK_SKEW_SECONDS_DEFAULT = 30;

type Entry<Key extends keyof PolicyInput> =
  NonNullable<PolicyInput[Key]> extends readonly (infer T)[] ? T : never;

/** What people wrote, as the message that the contract defines. */
export function toDocument(input: PolicyInput): PolicyDocument {
  return {
    version: input.version,
    trustDomains: input.trustDomains,
    jwtIssuers: (input.jwtIssuers ?? []).map(toIssuer),
    rules: (input.rules ?? []).map(toRule),
    includes: input.includes ?? [],
    contractDigest: input.contractDigest ?? '',
    contractVersion: input.contractVersion ?? '',
    limits: (input.limits ?? []).map(toLimit),
    detectors: (input.detectors ?? []).map(toDetector),
    protections: (input.protections ?? []).map(toProtection),
    audit: input.audit && toAudit(input.audit),
  };
}

function toIssuer(input: Entry<'jwtIssuers'>): JwtIssuer {
  const { jwksFile, jwksUrl, binding, claims, ...rest } = input;
  return {
    ...rest,
    jwks:
      jwksUrl === undefined
        ? { $case: 'jwksFile', value: jwksFile ?? '' }
        : { $case: 'jwksUrl', value: jwksUrl },
    clockSkewSeconds: input.clockSkewSeconds ?? CLOCK_SKEW_SECONDS_DEFAULT,
    binding: valueOf(TokenBinding, 'TOKEN_BINDING_', binding),
    claims: Object.fromEntries(
      Object.entries(claims ?? {}).map(([name, type]) => [name, valueOf(ClaimType, 'CLAIM_TYPE_', type)]),
    ),
  };
}

function toRule(input: Entry<'rules'>): Rule {
  return {
    ...aboutOf(input),
    id: input.id,
    effect: valueOf(Effect, 'EFFECT_', input.effect),
    identities: input.identities,
    methods: input.methods ?? [],
    permissions: input.permissions ?? [],
    models: input.models ?? [],
    token: input.token && { issuer: input.token.issuer, claims: input.token.claims ?? [] },
    condition: input.condition ?? '',
    shadow: input.shadow ?? false,
  };
}

function toLimit(input: Entry<'limits'>): Limit {
  return {
    ...aboutOf(input),
    id: input.id,
    match: toMatch(input.match),
    per: input.per ?? [],
    requests: input.requests,
    concurrentCalls: input.concurrentCalls,
    tokensPerMinute: bigintOf(input.tokensPerMinute),
    tokensPerDay: bigintOf(input.tokensPerDay),
    whenShort: valueOf(WhenShort, 'WHEN_SHORT_', input.whenShort),
    store: valueOf(LimitStore, 'LIMIT_STORE_', input.store),
    onStoreFailure: valueOf(StoreFailure, 'STORE_FAILURE_', input.onStoreFailure),
  };
}

function toDetector({ name, pattern, dictionary, charactersMax }: Entry<'detectors'>): CustomDetector {
  return {
    name,
    looksFor:
      dictionary === undefined
        ? { $case: 'pattern', value: pattern ?? '' }
        : { $case: 'dictionary', value: dictionary },
    charactersMax,
  };
}

function toProtection(input: Entry<'protections'>): Protection {
  return {
    ...aboutOf(input),
    id: input.id,
    match: toMatch(input.match),
    directions: (input.directions ?? []).map((name) => valueOf(Direction, 'DIRECTION_', name)),
    sensitivities: (input.sensitivities ?? []).map((name) => valueOf(Sensitivity, 'SENSITIVITY_', name)),
    detectors: input.detectors,
    action: valueOf(ProtectionAction, 'PROTECTION_ACTION_', input.action),
    key: input.key ?? '',
  };
}

function toAudit(input: NonNullable<PolicyInput['audit']>): AuditPolicy {
  return {
    allowedSampleRatio: input.allowedSampleRatio,
    answerWaits: input.answerWaits ?? false,
    onFailure: valueOf(AuditFailure, 'AUDIT_FAILURE_', input.onFailure),
  };
}

function toMatch(input: Entry<'limits'>['match']): CallMatch | undefined {
  return (
    input && {
      identities: input.identities ?? [],
      methods: input.methods ?? [],
      permissions: input.permissions ?? [],
      models: input.models ?? [],
    }
  );
}

function aboutOf(input: Entry<'rules' | 'limits' | 'protections'>) {
  return { description: input.description ?? '', labels: input.labels ?? {}, owner: input.owner ?? '' };
}

/** The number of an enum's name, with or without its prefix; that of UNSPECIFIED where there is no name. */
function valueOf<Enum extends Readonly<Record<string, number>>>(
  names: Enum,
  prefix: string,
  name: string | undefined,
): Exclude<Enum[keyof Enum], -1> {
  const whole = name?.startsWith(prefix) ? name : `${prefix}${name ?? 'UNSPECIFIED'}`;
  return names[whole] as Exclude<Enum[keyof Enum], -1>;
}

function bigintOf(value: number | undefined): bigint | undefined {
  return value === undefined ? undefined : BigInt(value);
}
