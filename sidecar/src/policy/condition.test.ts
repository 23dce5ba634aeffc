import { formatProblem } from '@gatehouse/documents';
import { describe, expect, test } from 'vitest';
import { ownContract } from '../../test/support/own-contract.ts';
import { compilePolicy, type DecisionRequest, explainPolicy, type Policy } from './index.ts';

const ID = 'spiffe://gatehouse.local/ns/local/sa/developer';
const GENERATE = 'gatehouse.inference.v1.InferenceService/Generate';
const LIST = 'gatehouse.inference.v1.ModelService/ListModels';
const NOON = Date.UTC(2026, 10, 22, 12);

function read(rule: string): ReturnType<typeof compilePolicy> {
  const text = `version: v1
trustDomains: [gatehouse.local]
jwtIssuers:
  - { name: staff, issuer: https://a, audiences: [x], algorithms: [ES256], jwksFile: a,
      claims: { team: STRING, groups: STRING_LIST, level: INT, admin: BOOL } }
  - { name: guests, issuer: https://b, audiences: [x], algorithms: [ES256], jwksFile: b }
rules:
  - { id: r, effect: ALLOW, identities: ["spiffe://gatehouse.local/**"], ${rule} }`;
  return compilePolicy(text, { contract: ownContract, fileName: 'p.yaml' });
}

function compile(rule: string): Policy {
  const compiled = read(rule);
  if ('problems' in compiled) throw new Error(compiled.problems.map(formatProblem).join('\n'));
  return compiled.policy;
}

const CALL: Omit<DecisionRequest, 'method'> = {
  model: 'small@2',
  outputTokensLimit: 100,
  priority: 1,
  token: { issuer: 'staff', claims: { team: 'ml', groups: ['a', 'b'], level: 3, admin: true, sub: 'me' } },
  nowMs: NOON,
};

function ask(policy: Policy, changes: Partial<DecisionRequest> = {}, name = GENERATE) {
  const method = ownContract.methods.get(`/${name}`);
  if (method === undefined) throw new Error(`no method ${name}`);
  return policy.forIdentity(ID).decide({ method, ...CALL, ...changes });
}

const conditioned = (condition: string, more = ''): string =>
  `methods: [${GENERATE}]${more}, condition: ${JSON.stringify(condition)}`;

describe('a token that comes again', () => {
  const claims = { team: 'ml', groups: ['a'], level: 3, admin: true, sub: 'me' };
  const token = { issuer: 'staff', claims };

  test('is decided by as before where rules look at nothing else, and as another one is for another issuer or token', () => {
    const policy = compile(conditioned('token.claims.team == "ml"'));
    for (let i = 0; i < 2; i++) {
      expect(ask(policy, { token })).toMatchObject({ allowed: true });
      expect(ask(policy, { token: { issuer: 'staff', claims: { ...claims, team: 'hr' } } }).allowed).toBe(
        false,
      );
      expect(ask(policy, { token: { issuer: 'nobody', claims } }).allowed).toBe(false);
      expect(ask(policy, { token: null }).allowed).toBe(false);
    }
  });

  test.each<[string, Partial<DecisionRequest>]>([
    ['request.priority == 1', { priority: 2 }],
    ['request.model == "small"', { model: 'large' }],
    ['now < timestamp("2026-11-22T13:00:00Z")', { nowMs: NOON + 3_600_000 }],
  ])('is decided anew where a rule looks further: %s', (condition, changes) => {
    const policy = compile(conditioned(`token.claims.team == "ml" && ${condition}`));
    for (let i = 0; i < 2; i++) {
      expect(ask(policy, { token }).allowed).toBe(true);
      expect(ask(policy, { token, ...changes }).allowed).toBe(false);
    }
  });
});

describe('a rule with a condition allows only where it is exactly true', () => {
  test.each<[string, Partial<DecisionRequest>, string | true]>([
    ['identity.trust_domain == "gatehouse.local" && identity.path[3] == "developer"', {}, true],
    [`identity.id == "${ID}"`, {}, true],
    ['identity.id.endsWith("/intern")', {}, 'CONDITION_FALSE'],
    ['identity.path[9] == "x"', {}, 'CONDITION_FAILED'],
    ['token.claims.team == "ml" && "b" in token.claims.groups && token.claims.level >= 3', {}, true],
    ['token.claims.admin && token.claims.sub == "me" && token.issuer == "staff"', {}, true],
    ['token.claims.groups.exists(g, g.startsWith("c"))', {}, 'CONDITION_FALSE'],
    ['token.claims.team == "ml"', { token: null }, 'TOKEN_REQUIRED'],
    ['!has(token.issuer)', { token: null }, true],
    ['request.model == "small" && request.model_version == "2"', {}, true],
    ['request.model_version == "2"', { model: 'small' }, 'CONDITION_FAILED'],
    ['request.max_output_tokens <= 256', {}, true],
    ['request.max_output_tokens <= 256', { outputTokensLimit: 257 }, 'CONDITION_FALSE'],
    ['request.max_output_tokens <= 256', { outputTokensLimit: null }, 'CONDITION_FAILED'],
    [
      '!has(request.max_output_tokens) || request.max_output_tokens <= 256',
      { outputTokensLimit: null },
      true,
    ],
    ['request.priority < 2', {}, true],
    ['now < timestamp("2026-11-22T13:00:00Z")', {}, true],
    ['now.getHours() < 6', {}, 'CONDITION_FALSE'],
    ['now.getHours("Nowhere/Town") < 6', {}, 'CONDITION_FAILED'],
    ['now.getHours("Asia/Tokyo") == 21', {}, true],
    ['int("x") == 1', {}, 'CONDITION_FAILED'],
  ])('%s of %j: %s', (condition, changes, expected) => {
    const decision = ask(compile(conditioned(condition)), changes);
    expect(decision.allowed ? true : decision.reason).toBe(expected);
  });

  test('a value that is only truthy is not true', () => {
    const policy = compile(conditioned('token.claims.x', ', token: { issuer: guests }'));
    const withX = (x: unknown) => ask(policy, { token: { issuer: 'guests', claims: { x } } });
    expect(withX(true)).toEqual({ allowed: true, ruleId: 'r' });
    for (const x of [1, 'true', {}, [true], null])
      expect(withX(x)).toMatchObject({ reason: 'CONDITION_FALSE' });
    expect(withX(undefined)).toMatchObject({ reason: 'CONDITION_FAILED' });
  });
});

test('a rule that denies does so where its condition is true and where it fails, and not where it is false', () => {
  const policy = (condition: string) =>
    compile(`permissions: [inference.generate] }
  - { id: no, effect: DENY, identities: ["spiffe://gatehouse.local/**"], methods: [${GENERATE}], condition: '${condition}'`);
  const limited = policy('has(request.max_output_tokens) && request.max_output_tokens > 256');
  expect(ask(limited, { outputTokensLimit: 300 })).toEqual({
    allowed: false,
    ruleId: 'no',
    reason: 'DENIED_BY_RULE',
  });
  expect(ask(limited)).toMatchObject({ allowed: true });
  expect(ask(limited, { outputTokensLimit: null })).toMatchObject({ allowed: true });
  expect(ask(policy('request.max_output_tokens > 256'), { outputTokensLimit: null })).toMatchObject({
    reason: 'DENIED_BY_RULE',
  });
});

test('says of each method what its conditions look at', () => {
  const needs = (condition: string) => {
    const rules = compile(conditioned(condition)).forIdentity(ID);
    const method = ownContract.methods.get(`/${GENERATE}`);
    return method && [rules.needsRequest(method), rules.needsToken(method)];
  };
  expect(needs('identity.path[0] == "ns"')).toEqual([false, false]);
  expect(needs('request.priority == 1')).toEqual([true, false]);
  expect(needs('token.claims.team == "ml" || now.getHours() == 1')).toEqual([false, true]);
});

test('explain says that a condition was false or what failed, and nothing of the call', () => {
  const explained = (condition: string, model: string | null) =>
    explainPolicy(compile(conditioned(condition)), {
      identity: ID,
      method: GENERATE,
      model,
      token: { issuer: 'guests', claims: { secret: 's3cret' } },
      nowMs: NOON,
    }).rules[0]?.mismatch;
  expect(explained('request.model == "x"', 'secret-model')).toBe(
    'The condition was false: `request.model == "x"`.',
  );
  expect(explained('request.priority == 1', 'm')).toBe(
    'The condition failed with no such key at `priority`: `request.priority == 1`.',
  );
  const leaking = explained('int(string(token.claims.secret)) == 1', 'm');
  expect(leaking).toMatch(/^The condition failed with /);
  expect(leaking).not.toContain('s3cret');
});

describe('is refused at load', () => {
  test.each<[string, string, string?]>([
    ['request.modl == "x"', 'No such key: modl, at `modl`; did you mean model?'],
    ['request.model == 1', 'no such overload: string == int'],
    ['identity.ids == "x"', 'No such key: ids'],
    ['token.claims.teem == "ml"', 'did you mean team?', ', token: { issuer: staff }'],
    ['token.claims.level == "3"', 'no such overload: int == string', ', token: { issuer: staff }'],
    ['token.claims.exp == "3"', 'no such overload: int == string', ', token: { issuer: guests }'],
    ['user.name == "x"', 'Unknown variable: user'],
    ['request.model', 'expected true or false, and the condition gives string'],
    ['request.model ==', 'expected a CEL expression'],
    ['request.model.matches("(a+)+$")', 'matches() can take time without end'],
    ['token.claims.groups.exists(a, token.claims.groups.exists(b, a == b))', 'inside another one'],
    ['size(request) > 1', 'takes request whole'],
    [`${'['.repeat(40)}${']'.repeat(40)} == []`, 'expected a CEL expression'],
    [Array.from({ length: 200 }, () => 'true').join(' && '), 'expected a CEL expression'],
  ])('%s', (condition, expected, more) => {
    const compiled = read(conditioned(condition, more));
    const [problem] = 'problems' in compiled ? compiled.problems.map(formatProblem) : [];
    expect(problem).toContain(expected);
    expect(problem).toMatch(/^p\.yaml:8:\d+: rules\[0\]\.condition: got /);
  });

  test('a field that no method of the rule has, and in a rule that denies one that some lack', () => {
    const problem = (rule: string) => {
      const compiled = read(rule);
      return 'problems' in compiled ? compiled.problems.map(formatProblem).join('\n') : '';
    };
    expect(problem(`methods: [${LIST}], condition: "request.model == 'x'"`)).toContain(
      'no request of theirs has model',
    );
    const both = `methods: [${GENERATE}, ${LIST}]`;
    expect(problem(`${both}, condition: "request.priority == 1"`)).toBe('');
    const deny = (condition: string) =>
      problem(`methods: [${GENERATE}] }
  - { id: no, effect: DENY, identities: ["spiffe://gatehouse.local/x"], ${both}, condition: "${condition}"`);
    expect(deny('request.priority == 1')).toContain(
      `expected has(request.priority) before it is used: ${LIST} has none`,
    );
    expect(deny('has(request.priority) && request.priority == 1')).toBe('');
  });

  test('a token where the document has no issuer', () => {
    const compiled = compilePolicy(
      `version: v
trustDomains: [gatehouse.local]
rules:
  - { id: a, effect: ALLOW, identities: ["spiffe://gatehouse.local/**"], methods: [${GENERATE}], condition: has(token.issuer) }`,
      { contract: ownContract, fileName: 'p.yaml' },
    );
    expect('problems' in compiled && compiled.problems[0]?.message).toContain('expected no token');
  });
});

describe('claims', () => {
  const policy = compile(
    `methods: [${GENERATE}], token: { issuer: staff, claims: [{ name: groups, values: [a] }, { name: level, values: ["3"] }] }`,
  );
  const withClaims = (claims: Record<string, unknown>) =>
    ask(policy, { token: { issuer: 'staff', claims: { groups: ['a'], level: 3, ...claims } } });

  test.each<[string, Record<string, unknown>]>([
    ['text in place of a list', { groups: 'a' }],
    ['a list of other things', { groups: ['a', 1] }],
    ['a fraction in place of a whole number', { level: 3.5 }],
    ['text in place of true or false', { admin: 'true' }],
    ['an object in place of text', { team: { toString: 'ml' } }],
    ['null', { team: null }],
    ['ten thousand groups', { groups: Array.from({ length: 10_000 }, () => 'a') }],
    ['ten thousand entries where no type is declared', { other: Array.from({ length: 10_000 }, () => 'a') }],
    [
      'values without end',
      { other: Array.from({ length: 900 }, () => Array.from({ length: 900 }, () => 1)) },
    ],
    ['levels without end', { other: JSON.parse(`${'['.repeat(500)}${']'.repeat(500)}`) as unknown }],
  ])('of a wrong type or size are refused: %s', (_, claims) => {
    const begun = performance.now();
    expect(withClaims(claims)).toEqual({ allowed: false, ruleId: null, reason: 'TOKEN_CLAIMS_MALFORMED' });
    expect(performance.now() - begun).toBeLessThan(200);
  });

  test('that are as declared are looked at, and those that are absent are not there', () => {
    expect(withClaims({})).toEqual({ allowed: true, ruleId: 'r' });
    expect(withClaims({ level: 4 })).toMatchObject({ reason: 'TOKEN_CLAIMS' });
    expect(withClaims({ groups: undefined })).toMatchObject({ reason: 'TOKEN_CLAIMS' });
  });

  test('that a rule lists have to be declared, with values of their type', () => {
    const compiled = read(
      `methods: [${GENERATE}], token: { issuer: staff, claims: [{ name: teem, values: [a] }, { name: level, values: [x] }, { name: admin, values: ["yes"] }] }`,
    );
    expect(
      'problems' in compiled && compiled.problems.map(({ key, message }) => `${key}: ${message}`),
    ).toEqual([
      'rules[0].token.claims[0].name: got "teem", expected a claim that the issuer declares; did you mean team?',
      'rules[0].token.claims[1].values[0]: got "x", expected a whole number, as the claim is',
      'rules[0].token.claims[2].values[0]: got "yes", expected true or false, as the claim is',
    ]);
  });
});
