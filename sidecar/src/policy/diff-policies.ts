import { Sensitivity } from '@gatehouse/contracts/annotations';
import type { CompiledRule } from './compiled-rule.ts';
import { coversIdentity, type IdentityPattern, parseIdentityPattern } from './identity-pattern.ts';
import type { CompiledLimit } from './limits.ts';
import type { Policy } from './policy.ts';
import type { CompiledProtection } from './protections.ts';

/** One thing that differs between two policies, in words. */
export interface PolicyDifference {
  /** An identity as rules name it, or `limit ID`, `protection ID`, `issuer NAME`. */
  readonly who: string;
  readonly effect: 'gains' | 'loses' | 'changes';
  /** `pkg.Service/Method`; none where it is not about methods. */
  readonly methods: readonly string[];
  readonly what: string;
}

/** Who gains and who loses what when one policy takes the place of another. Rules in shadow do not count. */
export function diffPolicies(before: Policy, after: Policy): readonly PolicyDifference[] {
  const identities = new Set(
    [before, after].flatMap(({ document }) => document.rules.flatMap((rule) => rule.identities)),
  );
  return [
    ...[...identities].toSorted().flatMap((identity) => accessDifferences(identity, before, after)),
    ...issuerDifferences(before, after),
    ...namedDifferences('limit', before.limits, after.limits, limitText),
    ...namedDifferences('protection', before.protections, after.protections, protectionText),
  ];
}

/** What one identity may do with a method, on one set of terms: token and condition. */
interface Access {
  /** Empty: without further terms. */
  readonly terms: string;
  /** Null: any. */
  readonly models: ReadonlySet<string> | null;
}

interface MethodAccess {
  readonly allowed: ReadonlyMap<string, Access>;
  readonly denied: ReadonlyMap<string, Access>;
}

function accessDifferences(text: string, before: Policy, after: Policy): PolicyDifference[] {
  const identity = parseIdentityPattern(text);
  if (identity === undefined) return [];
  const byChange = new Map<string, { effect: 'gains' | 'loses'; what: string; methods: string[] }>();
  const paths = new Set([...before.contract.methods.keys(), ...after.contract.methods.keys()]);
  const [rulesBefore, rulesAfter] = [before, after].map((policy) => rulesFor(policy, identity));
  for (const path of paths) {
    const [one, other] = [accessTo(path, rulesBefore ?? []), accessTo(path, rulesAfter ?? [])];
    const changes = [
      ...changesOf(one.allowed, other.allowed, { more: 'gains', less: 'loses', suffix: '' }),
      ...changesOf(one.denied, other.denied, {
        more: 'loses',
        less: 'gains',
        suffix: ' (a rule that denies)',
      }),
    ];
    for (const { effect, what } of changes) {
      const key = `${effect} ${what}`;
      const change = byChange.get(key) ?? { effect, what, methods: [] };
      change.methods.push(path.slice(1));
      byChange.set(key, change);
    }
  }
  return [...byChange.values()].map((change) => ({ who: text, ...change }));
}

function rulesFor(policy: Policy, identity: IdentityPattern): CompiledRule[] {
  return policy.rules.filter(
    (rule) => !rule.shadow && rule.identities.some((pattern) => coversIdentity(pattern, identity)),
  );
}

/** What denies without terms leaves nothing to allow. */
function accessTo(path: string, rules: readonly CompiledRule[]): MethodAccess {
  const allowed = new Map<string, Access>();
  const denied = new Map<string, Access>();
  for (const rule of rules)
    if (rule.paths.has(path)) addAccess(rule.effect === 'DENY' ? denied : allowed, rule);
  const barred = denied.get('');
  if (barred?.models === null) return { allowed: new Map(), denied: new Map() };
  if (allowed.size === 0) return { allowed, denied: new Map() };
  const open = allowed.get('');
  return { allowed: open?.models === null ? new Map([['', open]]) : allowed, denied };
}

function addAccess(list: Map<string, Access>, rule: CompiledRule): void {
  const terms = termsOf(rule);
  const known = list.get(terms);
  const models =
    rule.modelNames.length === 0 || known?.models === null
      ? null
      : new Set([...(known?.models ?? []), ...rule.modelNames]);
  list.set(terms, { terms, models });
}

function termsOf({ token, condition }: CompiledRule): string {
  const claims = token?.claims.map(({ name, values }) => `${name} = ${[...values].join(' or ')}`) ?? [];
  return [
    token === null
      ? ''
      : ` with a token of ${token.issuer}${claims.length > 0 ? ` (${claims.join(', ')})` : ''}`,
    condition === null ? '' : ` when \`${condition.source}\``,
  ].join('');
}

function* changesOf(
  before: ReadonlyMap<string, Access>,
  after: ReadonlyMap<string, Access>,
  words: { readonly more: 'gains' | 'loses'; readonly less: 'gains' | 'loses'; readonly suffix: string },
): Generator<{ effect: 'gains' | 'loses'; what: string }> {
  for (const terms of new Set([...before.keys(), ...after.keys()])) {
    const [one, other] = [before.get(terms), after.get(terms)];
    const gained = modelsBeyond(other, one);
    const lost = modelsBeyond(one, other);
    if (gained !== '') yield { effect: words.more, what: `${gained}${terms}${words.suffix}` };
    if (lost !== '') yield { effect: words.less, what: `${lost}${terms}${words.suffix}` };
  }
}

/** The models of one access that the other does not have; empty where there are none. */
function modelsBeyond(access: Access | undefined, other: Access | undefined): string {
  if (access === undefined) return '';
  if (access.models === null) {
    if (other === undefined) return 'any model';
    return other.models === null ? '' : `any model beyond ${[...other.models].join(', ')}`;
  }
  if (other?.models === null) return '';
  const beyond = [...access.models].filter((model) => !other?.models?.has(model));
  return beyond.length === 0 ? '' : `model ${beyond.join(', ')}`;
}

function issuerDifferences(before: Policy, after: Policy): PolicyDifference[] {
  const of = (policy: Policy) => policy.document.jwtIssuers.map((issuer) => ({ ...issuer, id: issuer.name }));
  return namedDifferences('issuer', of(before), of(after), (issuer) => ({
    iss: issuer.issuer,
    audiences: issuer.audiences.join(', '),
    algorithms: issuer.algorithms.join(', '),
    keys: issuer.jwks?.value ?? '',
    claims: JSON.stringify(issuer.claims),
    binding: String(issuer.binding),
    'clock skew': `${issuer.clockSkewSeconds ?? 0} s`,
  }));
}

function namedDifferences<T extends { readonly id: string }>(
  kind: string,
  before: readonly T[],
  after: readonly T[],
  describe: (entry: T) => Readonly<Record<string, string>>,
): PolicyDifference[] {
  const old = new Map(before.map((entry) => [entry.id, entry]));
  const next = new Map(after.map((entry) => [entry.id, entry]));
  return [...new Set([...old.keys(), ...next.keys()])].flatMap((id): PolicyDifference[] => {
    const [one, other] = [old.get(id), next.get(id)].map((entry) => entry && describe(entry));
    const who = `${kind} ${id}`;
    const whole = (facts: Readonly<Record<string, string>>): string =>
      Object.entries(facts)
        .filter(([, value]) => value !== '')
        .map(([name, value]) => `${name} ${value}`)
        .join(', ');
    if (one === undefined)
      return other ? [{ who, effect: 'changes', methods: [], what: `is new: ${whole(other)}` }] : [];
    if (other === undefined) return [{ who, effect: 'changes', methods: [], what: `is gone: ${whole(one)}` }];
    return Object.keys(other)
      .filter((key) => one[key] !== other[key])
      .map((key) => ({
        who,
        effect: 'changes' as const,
        methods: [],
        what: `${key}: ${one[key] || 'none'} → ${other[key] || 'none'}`,
      }));
  });
}

function limitText(limit: CompiledLimit): Readonly<Record<string, string>> {
  const { requests, concurrentCallsMax, tokensPerMinuteMax, tokensPerDayMax } = limit;
  return {
    'calls of': limit.match.describe(),
    per: limit.per.map((key) => (key.kind === 'claim' ? `claim ${key.name}` : key.kind)).join(' and '),
    requests: requests === null ? '' : `${requests.perSecond} a second, ${requests.burst} at once`,
    'concurrent calls': String(concurrentCallsMax ?? ''),
    'tokens a minute': String(tokensPerMinuteMax ?? ''),
    'tokens a day': String(tokensPerDayMax ?? ''),
    'when short': limit.whenShort,
    store: limit.store,
    'store failure': limit.onStoreFailure,
  };
}

const SENSITIVITIES = [
  [Sensitivity.SENSITIVITY_METADATA, 'metadata'],
  [Sensitivity.SENSITIVITY_PROMPT, 'prompts'],
  [Sensitivity.SENSITIVITY_COMPLETION, 'completions'],
  [Sensitivity.SENSITIVITY_EMBEDDING_INPUT, 'embedding inputs'],
] as const;

function protectionText(protection: CompiledProtection): Readonly<Record<string, string>> {
  const { onRequest, onResponse } = protection;
  return {
    'calls of': protection.match.describe(),
    looks: [onRequest ? 'at requests' : '', onResponse ? 'at responses' : ''].filter(Boolean).join(' and '),
    for: protection.detectors.join(', '),
    action: protection.action,
    key: protection.key,
    in: SENSITIVITIES.filter(([value]) => protection.sensitivities.has(value))
      .map(([, name]) => name)
      .join(', '),
  };
}
