import { readFileSync } from 'node:fs';
import { loadContract } from '@gatehouse/contracts';
import { Effect, TokenBinding } from '@gatehouse/contracts/policy';
import { formatProblem } from '@gatehouse/documents';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { compilePolicy, policyJsonSchema } from './index.ts';

const loaded = loadContract({
  descriptorSet: readFileSync(new URL(import.meta.resolve('@gatehouse/contracts/descriptors.binpb'))),
});
if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
const { contract } = loaded;

function problems(text: string): string[] {
  const compiled = compilePolicy(text, { contract, fileName: 'p.yaml' });
  return 'problems' in compiled ? compiled.problems.map(formatProblem) : [];
}

const GOOD = `version: v7
trustDomains: [gatehouse.local]
jwtIssuers:
  - name: staff
    issuer: https://issuer.example
    audiences: [gatehouse]
    algorithms: [ES256]
    jwksFile: staff.jwks.json
    binding: CERTIFICATE
rules:
  - id: developers
    description: Developers may do anything.
    effect: ALLOW
    identities: ["spiffe://gatehouse.local/ns/local/sa/developer"]
    methods: [gatehouse.inference.v1.InferenceService/*]
    permissions: [models.read]
    models: [small-*]
    token: { issuer: staff, claims: [{ name: team, values: [ml] }] }
  - { id: no, effect: EFFECT_DENY, identities: ["spiffe://gatehouse.local/**"], permissions: [admin.read] }
`;

test('compiles a document into the message that policy.proto describes, with its defaults', () => {
  const compiled = compilePolicy(GOOD, { contract, fileName: 'p.yaml' });
  if ('problems' in compiled) throw new Error('refused');
  const { policy } = compiled;
  expect(policy.version).toMatch(/^v7@[0-9a-f]{12}$/);
  expect(policy.digest.startsWith(policy.version.slice(3))).toBe(true);
  expect(policy.document.jwtIssuers[0]).toEqual({
    name: 'staff',
    issuer: 'https://issuer.example',
    audiences: ['gatehouse'],
    algorithms: ['ES256'],
    jwks: { $case: 'jwksFile', value: 'staff.jwks.json' },
    clockSkewSeconds: 30,
    binding: TokenBinding.TOKEN_BINDING_CERTIFICATE,
    claims: {},
  });
  expect(policy.document.rules[1]).toEqual({
    id: 'no',
    description: '',
    effect: Effect.EFFECT_DENY,
    identities: ['spiffe://gatehouse.local/**'],
    methods: [],
    permissions: ['admin.read'],
    models: [],
    token: undefined,
    condition: '',
    shadow: false,
    labels: {},
    owner: '',
  });
});

test('reports every problem of a document at once, each with place, key, value and expected form', () => {
  const text = `trustDomains: [gatehouse.local, Bad Domain]
jwtIssuers:
  - name: staff
    issuer: https://issuer.example
    audiences: []
    algorithms: [HS256, none, ES256]
    jwksUrl: http://issuer.example/jwks
    clockSkewSeconds: 1.5
  - name: staff
    issuer: https://issuer.example
    audiences: [a]
    algorithms: [ES256]
    clockSkewSeconds: 500
rulez: []
rules:
  - id: a
    effect: ALLOWED
    identities: [spiffe://gatehouse.locl/ns/x, "http://x"]
    methods: [gatehouse.inference.v1.InferenceService/Generat, gatehouse.inference.v1.ModelService]
    permissions: [inference.generat]
    token: { issuer: staf }
  - id: a
    effect: DENY
    identities: []
  - id: c
    effect: DENY
    identities: [spiffe://gatehouse.local/x]
    methods: [gatehouse.inference.v1.ModelService/ListModels, grpc.health.v1.Health/Check]
    models: [x]
  - id: d
    effect: DENY
    identities: [spiffe://gatehouse.local/x]
    methods: [gatehouse.inference.v1.ModelService/ListModels]
    models: [x]
`;
  const algorithms = 'RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519';
  expect(problems(text)).toEqual([
    'p.yaml:1:1: version: missing, expected text',
    'p.yaml:1:33: trustDomains[1]: got "Bad Domain", expected a trust domain such as gatehouse.local',
    'p.yaml:5:5: jwtIssuers[0].audiences: got [], expected at least one audience',
    `p.yaml:6:18: jwtIssuers[0].algorithms[0]: got "HS256", expected one of ${algorithms}`,
    `p.yaml:6:25: jwtIssuers[0].algorithms[1]: got "none", expected one of ${algorithms}`,
    'p.yaml:7:5: jwtIssuers[0].jwksUrl: got "http://issuer.example/jwks", expected an https:// URL without credentials',
    'p.yaml:8:5: jwtIssuers[0].clockSkewSeconds: got 1.5, expected a whole number',
    'p.yaml:9:5: jwtIssuers[1]: got nothing, expected one of jwksFile and jwksUrl',
    'p.yaml:9:5: jwtIssuers[1].name: got "staff", expected a value that is given once',
    'p.yaml:10:5: jwtIssuers[1].issuer: got "https://issuer.example", expected a value that is given once',
    'p.yaml:13:5: jwtIssuers[1].clockSkewSeconds: got 500, expected at most 300',
    'p.yaml:14:1: rulez: unknown key',
    'p.yaml:17:5: rules[0].effect: got "ALLOWED", expected one of ALLOW, DENY',
    'p.yaml:18:18: rules[0].identities[0]: got "spiffe://gatehouse.locl/ns/x", expected an identity of one of trustDomains; did you mean gatehouse.local?',
    'p.yaml:18:48: rules[0].identities[1]: got "http://x", expected a SPIFFE ID such as spiffe://gatehouse.local/ns/*/sa/inference, `**` only at the end',
    'p.yaml:19:15: rules[0].methods[0]: got "gatehouse.inference.v1.InferenceService/Generat", expected a method of the contract; did you mean gatehouse.inference.v1.InferenceService/Generate?',
    'p.yaml:19:64: rules[0].methods[1]: got "gatehouse.inference.v1.ModelService", expected pkg.Service/Method or pkg.Service/*',
    'p.yaml:20:19: rules[0].permissions[0]: got "inference.generat", expected a permission of the contract; did you mean inference.generate?',
    'p.yaml:21:14: rules[0].token.issuer: got "staf", expected the name of one of jwtIssuers; did you mean staff?',
    'p.yaml:22:5: rules[1]: got nothing, expected methods or permissions',
    'p.yaml:22:5: rules[1].id: got "a", expected a value that is given once',
    'p.yaml:24:5: rules[1].identities: got [], expected at least one identity',
    'p.yaml:28:63: rules[2].methods[1]: got "grpc.health.v1.Health/Check", expected a method with a permission; the contract gives this one none, so nobody may call it',
    'p.yaml:29:5: rules[2].models: got ["x"], expected no models: no method of this rule has a model in its request, so the rule could never match',
    'p.yaml:34:5: rules[3].models: got ["x"], expected no models: no method of this rule has a model in its request, so the rule could never match',
  ]);
});

test.each([
  ['', 'version: missing'],
  ['- a', 'expected a mapping'],
  ['version: [', 'not YAML'],
  ['version: v1\nversion: v2', 'not YAML'],
  [`${GOOD}\nrules: 5`, 'not YAML'],
  ['version: v1\ntrustDomains: [a]\nrules: 5', 'rules: got 5, expected a list'],
  ['version: v1\ntrustDomains: [a]\nrules: [5, null]', 'rules[1]: got null, expected a mapping'],
  [
    'version: v1\ntrustDomains: [a]\njwtIssuers: [null]\nrules: [{ identities: 7, methods: x }]',
    'rules[0].identities: got 7, expected a list',
  ],
  [
    GOOD.replace('jwksFile: staff.jwks.json', 'jwksFile: x\n    jwksUrl: https://a/b'),
    'expected one of jwksFile and jwksUrl',
  ],
  [GOOD.replace('models: [small-*]', 'models: []'), 'models: got [], expected at least one model'],
  [GOOD.replace('models: [small-*]', 'models:'), 'models: got null, expected a list'],
  [GOOD.replace('claims: [{ name: team, values: [ml] }]', 'claims: []'), 'expected at least one claim'],
  [
    GOOD.replace('jwksFile: staff.jwks.json', 'jwksUrl: https://user:secret@a/b'),
    'expected an https:// URL without credentials',
  ],
])('refuses %j', (text, expected) => {
  expect(problems(text).join('\n')).toContain(expected);
});

test('publishes a JSON schema that takes the same document and refuses a misspelt key', () => {
  const schema = z.fromJSONSchema(policyJsonSchema() as Parameters<typeof z.fromJSONSchema>[0]);
  const takes = (text: string): boolean => schema.safeParse(parse(text)).success;
  expect(takes(GOOD)).toBe(true);
  expect(takes(GOOD.replace('jwtIssuers', 'jwtIssuer'))).toBe(false);
  expect(takes(GOOD.replace('ES256', 'HS256'))).toBe(false);
});
