import { readFileSync } from 'node:fs';
import { type ContractMethod, loadContract } from '@gatehouse/contracts';
import { formatProblem } from '@gatehouse/documents';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  compilePolicy,
  type Decision,
  explainPolicy,
  type Policy,
  runExpectations,
  type TokenFacts,
} from './index.ts';

const loaded = loadContract({
  descriptorSet: readFileSync(new URL(import.meta.resolve('@gatehouse/contracts/descriptors.binpb'))),
});
if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
const { contract } = loaded;

const ID = 'spiffe://gatehouse.local/ns/local/sa';
const GENERATE = 'gatehouse.inference.v1.InferenceService/Generate';
const LIST = 'gatehouse.inference.v1.ModelService/ListModels';

function compile(rules: string): Policy {
  const compiled = tryCompile(rules);
  if ('problems' in compiled) throw new Error(compiled.problems.map(formatProblem).join('\n'));
  return compiled.policy;
}

function tryCompile(rules: string): ReturnType<typeof compilePolicy> {
  const text = `version: v1
trustDomains: [gatehouse.local, other.test]
jwtIssuers:
  - { name: staff, issuer: https://a, audiences: [x], algorithms: [ES256], jwksFile: a }
  - { name: guests, issuer: https://b, audiences: [x], algorithms: [ES256], jwksFile: b }
rules:
${rules}`;
  return compilePolicy(text, { contract, fileName: 'p.yaml' });
}

function methodOf(name: string): ContractMethod {
  const method = contract.methods.get(`/${name}`);
  if (method === undefined) throw new Error(`no method ${name}`);
  return method;
}

const ASKED = {
  model: null,
  outputTokensLimit: null,
  priority: null,
  token: null,
  nowMs: Date.UTC(2026, 10, 22),
};

interface Asked {
  identity?: string;
  method?: string;
  model?: string | null;
  token?: TokenFacts | null;
}

function decide(policy: Policy, asked: Asked = {}): Decision {
  const { identity = `${ID}/developer`, method = GENERATE, model = null, token = null } = asked;
  return policy.forIdentity(identity).decide({ ...ASKED, method: methodOf(method), model, token });
}

function allowed(ruleId: string): Decision {
  return { allowed: true, ruleId };
}

function denied(reason: string, ruleId: string | null = null): object {
  return { allowed: false, ruleId, reason };
}

describe('identities and methods', () => {
  const policy = compile(`
  - { id: by-name, effect: ALLOW, identities: ["${ID}/developer"], methods: [${GENERATE}] }
  - { id: by-permission, effect: ALLOW, identities: ["${ID}/*"], permissions: [models.read] }
  - { id: by-service, effect: ALLOW, identities: ["spiffe://other.test/**"], methods: [gatehouse.embeddings.v1.EmbeddingsService/*] }`);

  test.each<[string, Asked, object]>([
    ['allows a method by name', {}, allowed('by-name')],
    ['allows a method by its permission', { method: LIST }, allowed('by-permission')],
    [
      'allows all methods of a service',
      {
        identity: 'spiffe://other.test/a/b',
        method: 'gatehouse.embeddings.v1.EmbeddingsService/StreamEmbed',
      },
      allowed('by-service'),
    ],
    [
      'denies a method that no rule names',
      { method: 'gatehouse.admin.v1.AdminService/Explain' },
      denied('NO_MATCHING_RULE'),
    ],
    ['denies an identity that no rule names', { identity: `${ID}/intern` }, denied('NO_MATCHING_RULE')],
    [
      'denies the same path in another trust domain',
      { identity: `${ID}/developer`.replace('gatehouse.local', 'other.test') },
      denied('NO_MATCHING_RULE'),
    ],
    ['denies what is no identity', { identity: '' }, denied('NO_MATCHING_RULE')],
    [
      'takes a wildcard from a caller for no identity',
      { identity: `${ID}/*`, method: LIST },
      denied('NO_MATCHING_RULE'),
    ],
  ])('%s', (_, asked, expected) => {
    expect(decide(policy, asked)).toEqual(expected);
  });

  test('says of each method whether model and token matter', () => {
    const rules = compile(`
  - { id: a, effect: ALLOW, identities: ["${ID}/developer"], methods: [${GENERATE}], models: [x] }
  - { id: b, effect: DENY, identities: ["${ID}/developer"], methods: [${LIST}], token: { issuer: staff } }`).forIdentity(
      `${ID}/developer`,
    );
    expect([rules.needsRequest(methodOf(GENERATE)), rules.needsToken(methodOf(GENERATE))]).toEqual([
      true,
      false,
    ]);
    expect([rules.needsRequest(methodOf(LIST)), rules.needsToken(methodOf(LIST))]).toEqual([false, true]);
  });

  test('gives one identity the same rules again', () => {
    expect(policy.forIdentity(`${ID}/developer`)).toBe(policy.forIdentity(`${ID}/developer`));
  });
});

describe('models', () => {
  const policy = compile(`
  - { id: small, effect: ALLOW, identities: ["${ID}/*"], permissions: [inference.generate, models.read], models: [small-*, tiny] }
  - { id: no-secret, effect: DENY, identities: ["${ID}/*"], permissions: [inference.generate], models: ["*-secret"] }`);

  test.each<[string, Asked, object]>([
    ['allows a model that matches', { model: 'small-1' }, allowed('small')],
    ['allows a model by name', { model: 'tiny' }, allowed('small')],
    ['denies another model', { model: 'tiny2' }, denied('MODEL_NOT_ALLOWED')],
    ['denies a call whose model is not known', { model: null }, denied('MODEL_REQUIRED')],
    ['a rule that denies wins', { model: 'small-secret' }, denied('DENIED_BY_RULE', 'no-secret')],
    [
      'a method without a model never matches a rule with models',
      { method: LIST, model: 'tiny' },
      denied('NO_MATCHING_RULE'),
    ],
  ])('%s', (_, asked, expected) => {
    expect(decide(policy, asked)).toEqual(expected);
  });

  test('a rule that denies models does not match where the model is not known', () => {
    const rules = compile(`
  - { id: all, effect: ALLOW, identities: ["${ID}/*"], permissions: [inference.generate] }
  - { id: no-secret, effect: DENY, identities: ["${ID}/*"], permissions: [inference.generate], models: ["*-secret"] }`);
    expect(decide(rules)).toEqual(allowed('all'));
    expect(decide(rules, { model: 'x-secret' })).toEqual(denied('DENIED_BY_RULE', 'no-secret'));
  });
});

describe('tokens', () => {
  const policy = compile(`
  - { id: ml, effect: ALLOW, identities: ["${ID}/*"], methods: [${GENERATE}], token: { issuer: staff, claims: [{ name: team, values: [ml, research] }, { name: level, values: ["3"] }] } }
  - { id: anyone, effect: ALLOW, identities: ["${ID}/*"], methods: [${LIST}], token: { issuer: guests } }
  - { id: blocked, effect: DENY, identities: ["${ID}/*"], methods: [${LIST}], token: { issuer: guests, claims: [{ name: blocked, values: ["true"] }] } }`);
  const staff = (claims: Record<string, unknown>): TokenFacts => ({ issuer: 'staff', claims });

  test.each<[string, Asked, object]>([
    [
      'allows when each claim has one of its values',
      { token: staff({ team: 'ml', level: 3 }) },
      allowed('ml'),
    ],
    [
      'allows when a list holds one of the values',
      { token: staff({ team: ['a', 'research'], level: ['3'] }) },
      allowed('ml'),
    ],
    [
      'denies when one claim differs',
      { token: staff({ team: 'ml', level: 4 }) },
      denied('TOKEN_CLAIMS', 'ml'),
    ],
    ['denies when a claim is absent', { token: staff({ team: 'ml' }) }, denied('TOKEN_CLAIMS', 'ml')],
    [
      'denies when a claim is an object',
      { token: staff({ team: { ml: true }, level: 3 }) },
      denied('TOKEN_CLAIMS', 'ml'),
    ],
    [
      'does not take inherited properties for claims',
      { token: staff(Object.create({ team: 'ml', level: '3' }) as Record<string, unknown>) },
      denied('TOKEN_CLAIMS', 'ml'),
    ],
    ['asks for a token', {}, denied('TOKEN_REQUIRED', 'ml')],
    [
      'does not take the token of another issuer',
      { token: { issuer: 'guests', claims: { team: 'ml', level: '3' } } },
      denied('TOKEN_REQUIRED', 'ml'),
    ],
    [
      'asks for no claims where the rule names none',
      { method: LIST, token: { issuer: 'guests', claims: {} } },
      allowed('anyone'),
    ],
    [
      'denies by a claim',
      { method: LIST, token: { issuer: 'guests', claims: { blocked: true } } },
      denied('DENIED_BY_RULE', 'blocked'),
    ],
  ])('%s', (_, asked, expected) => {
    expect(decide(policy, asked)).toEqual(expected);
  });

  test('reports the miss that is nearest to allowing', () => {
    const rules = compile(`
  - { id: a, effect: ALLOW, identities: ["${ID}/*"], methods: [${GENERATE}], models: [x] }
  - { id: b, effect: ALLOW, identities: ["${ID}/*"], methods: [${GENERATE}], models: [y], token: { issuer: staff } }`);
    expect(decide(rules, { model: 'z' })).toEqual(denied('MODEL_NOT_ALLOWED'));
    expect(decide(rules, { model: 'y' })).toEqual(denied('TOKEN_REQUIRED', 'b'));
  });
});

test('a decision does not take longer for two thousand rules about others', () => {
  const others = Array.from(
    { length: 1_999 },
    (_, i) => `  - { id: r${i}, effect: ALLOW, identities: ["${ID}/x${i}"], methods: [${GENERATE}] }`,
  );
  const own = `  - { id: own, effect: ALLOW, identities: ["${ID}/developer"], methods: [${GENERATE}] }`;
  const timeOf = (policy: Policy): number => {
    const rules = policy.forIdentity(`${ID}/developer`);
    const request = { ...ASKED, method: methodOf(GENERATE) };
    const runs = Array.from({ length: 9 }, () => {
      const begun = performance.now();
      for (let i = 0; i < 20_000; i++) if (!rules.decide(request).allowed) throw new Error('denied');
      return performance.now() - begun;
    });
    return Math.min(...runs);
  };
  const few = timeOf(compile(own));
  expect(timeOf(compile([...others, own].join('\n')))).toBeLessThan(few * 5 + 1);
});

const EXPLAINED = compile(`
  - { id: dev, effect: ALLOW, identities: ["${ID}/developer"], methods: [${GENERATE}], models: [small] }
  - { id: staff, effect: ALLOW, identities: ["${ID}/*"], methods: [${GENERATE}], token: { issuer: staff, claims: [{ name: team, values: [ml, ai] }] } }
  - { id: none, effect: DENY, identities: ["${ID}/intern"], permissions: [inference.generate, models.read], models: [small] }`);

describe('explains', () => {
  test.each<[string, Asked, string[]]>([
    [
      'identity, method and model',
      { model: 'small' },
      [
        '',
        'The rule asks for a token of the issuer staff and the call brings none.',
        `The rule does not name the identity ${ID}/developer.`,
      ],
    ],
    [
      'a model and claims',
      { model: 'big', token: { issuer: 'staff', claims: { team: 'x' } } },
      [
        'The rule does not name the model big.',
        'The rule asks for the claims team = ml or ai, and the token has others.',
        `The rule does not name the identity ${ID}/developer.`,
      ],
    ],
    [
      'no model, another issuer',
      { token: { issuer: 'guests', claims: {} } },
      [
        'The rule asks for a model and the call names none.',
        'The rule asks for a token of the issuer staff and the call brings one of guests.',
        `The rule does not name the identity ${ID}/developer.`,
      ],
    ],
    [
      'methods',
      { identity: `${ID}/intern`, method: LIST },
      [
        `The rule does not name the identity ${ID}/intern.`,
        `The rule does not name the method ${LIST}.`,
        `The rule does not name the method ${LIST}, or names it and asks for a model, which ${LIST} does not have.`,
      ],
    ],
    [
      'an unknown method',
      { method: 'a.B/C' },
      Array.from({ length: 3 }, () => 'The contract has no method a.B/C that may be called.'),
    ],
    [
      'no identity',
      { identity: 'me' },
      Array.from({ length: 3 }, () => 'me is not a SPIFFE ID with a path.'),
    ],
  ])('%s', (_, { identity = `${ID}/developer`, method = GENERATE, model = null, token = null }, expected) => {
    const { rules } = explainPolicy(EXPLAINED, { ...ASKED, identity, method, model, token });
    expect(rules.map(({ mismatch }) => mismatch)).toEqual(expected);
    expect(rules.map(({ matched }) => matched)).toEqual(expected.map((mismatch) => mismatch === ''));
  });

  test('agrees with the decision on any policy: a rule that denies, else one that allows, else denied', () => {
    const rule = fc.record({
      effect: fc.constantFrom('ALLOW', 'DENY'),
      identity: fc.constantFrom(`${ID}/developer`, `${ID}/*`, `${ID}/intern`, 'spiffe://gatehouse.local/**'),
      methods: fc.constantFrom(
        `methods: [${GENERATE}]`,
        `methods: [${LIST}, ${GENERATE}]`,
        'permissions: [inference.generate]',
      ),
      models: fc.constantFrom('', ', models: [small]', ', models: ["*"]', ', models: [big, s*]'),
      token: fc.constantFrom(
        '',
        ', token: { issuer: staff }',
        ', token: { issuer: staff, claims: [{ name: team, values: [ml] }] }',
      ),
    });
    const asked = fc.record({
      identity: fc.constantFrom(`${ID}/developer`, `${ID}/intern`),
      method: fc.constantFrom(GENERATE, LIST),
      model: fc.constantFrom(null, 'small', 'big', ''),
      token: fc.constantFrom(
        null,
        { issuer: 'staff', claims: { team: 'ml' } },
        { issuer: 'guests', claims: {} },
      ),
    });
    fc.assert(
      fc.property(
        fc.array(rule, { minLength: 1, maxLength: 6 }),
        fc.array(asked, { minLength: 5, maxLength: 5 }),
        (rules, calls) => {
          const text = (at: readonly number[]): string =>
            at
              .map((i) => {
                const one = rules[i];
                return `  - { id: r${i}, effect: ${one?.effect}, identities: ["${one?.identity}"], ${one?.methods}${one?.models}${one?.token} }`;
              })
              .join('\n');
          const all = [...rules.keys()];
          const compiled = tryCompile(text(all));
          // What covers a rule whole is reported; the rest says the same without it, which the reference below holds.
          const useless = new Set(
            'problems' in compiled ? compiled.problems.map(({ key }) => Number(/\d+/.exec(key)?.[0])) : [],
          );
          const policy = compile(text(all.filter((i) => !useless.has(i))));
          const alone = [...useless].map((i) => [i, compile(text([i]))] as const);
          for (const call of calls) {
            const { decision, rules: explained } = explainPolicy(policy, { ...ASKED, ...call });
            const matched = explained.filter((one) => one.matched).map((one) => Number(one.ruleId.slice(1)));
            const denies = matched.some((i) => rules[i]?.effect === 'DENY');
            expect(decision.allowed).toBe(!denies && matched.length > 0);
            expect(decision.allowed || decision.reason === 'DENIED_BY_RULE').toBe(matched.length > 0);
            for (const [i, policyOfOne] of alone) {
              const own = policyOfOne.forIdentity(call.identity);
              const request = { ...ASKED, ...call, method: methodOf(call.method) };
              const matches = own.decide(request);
              // The rule that was left out changes nothing: it would not allow more, nor deny more.
              if (rules[i]?.effect === 'ALLOW' && matches.allowed) expect(matched.length).toBeGreaterThan(0);
              if (rules[i]?.effect === 'DENY' && !matches.allowed && matches.reason === 'DENIED_BY_RULE')
                expect(decision).toMatchObject({ reason: 'DENIED_BY_RULE' });
            }
          }
        },
      ),
      { numRuns: 100, seed: 20261122 },
    );
  });
});

describe('expectations', () => {
  const run = (text: string) => runExpectations(text, { policy: EXPLAINED, fileName: 'e.yaml', nowMs: 0 });

  test('tells which the policy meets, by outcome and by rule', () => {
    const ran = run(`
- { from: "${ID}/developer", to: ${GENERATE}, model: small, expect: allow, rule: dev }
- { from: "${ID}/developer", to: ${GENERATE}, model: big, expect: allow }
- { from: "${ID}/developer", to: ${GENERATE}, token: { issuer: staff, claims: { team: [ml] } }, expect: allow, rule: dev }
- { from: "${ID}/intern", to: ${GENERATE}, model: small, expect: deny, rule: none }
`);
    if ('problems' in ran) throw new Error(ran.problems.map(formatProblem).join('\n'));
    expect(ran.results.map(({ line, passed }) => [line, passed])).toEqual([
      [2, true],
      [3, false],
      [4, false],
      [5, true],
    ]);
    expect(ran.results[1]?.decision).toMatchObject({ allowed: false, reason: 'TOKEN_REQUIRED' });
  });

  test('refuses what the policy cannot be asked', () => {
    const ran = run(`
- { from: me, to: ${GENERATE}x, token: { issuer: stuff }, expect: maybe, rule: deb, modl: x }
`);
    expect('problems' in ran && ran.problems.map((problem) => `${problem.key}: ${problem.message}`)).toEqual([
      '[0].from: got "me", expected a SPIFFE ID',
      `[0].to: got "${GENERATE}x", expected a method of the contract; did you mean ${GENERATE}?`,
      '[0].token.issuer: got "stuff", expected an issuer of the policy; did you mean staff?',
      '[0].expect: got "maybe", expected allow or deny',
      '[0].rule: got "deb", expected a rule of the policy; did you mean dev?',
      '[0].modl: unknown key',
    ]);
    expect(run('[]')).toHaveProperty('problems');
  });
});
