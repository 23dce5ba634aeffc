import { readFileSync } from 'node:fs';
import { loadContract } from '@gatehouse/contracts';
import { expect, test } from 'vitest';
import { compilePolicy } from '../policy/index.ts';
import { callerOf } from './recorded-claims.ts';

const loaded = loadContract({
  descriptorSet: readFileSync(new URL(import.meta.resolve('@gatehouse/contracts/descriptors.binpb'))),
});
if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
const { contract } = loaded;

function policyWith(rules: string, limits = ''): Parameters<typeof callerOf>[2] {
  const text = `version: v1
trustDomains: [a.b]
jwtIssuers: [{ name: staff, issuer: https://i, audiences: [g], algorithms: [ES256], jwksFile: k.json }]
rules:
${rules}
${limits}`;
  const compiled = compilePolicy(text, { contract, fileName: 'p.yaml' });
  if ('problems' in compiled) throw new Error(JSON.stringify(compiled.problems));
  return compiled.policy;
}

const RULE = 'effect: ALLOW, identities: ["spiffe://a.b/**"], permissions: [models.read]';
const token = (claims: Record<string, unknown>) => ({ issuer: 'staff', claims });
const recorded = (claims: Record<string, unknown>, policy: Parameters<typeof callerOf>[2]) =>
  callerOf('spiffe://a.b/c', token(claims), policy);

test('claims that rules, conditions and limits name are kept with their types, and no others', () => {
  const policy = policyWith(
    `  - { id: r, ${RULE}, token: { issuer: staff, claims: [{ name: team, values: [ml] }] }, condition: 'token.claims.level > 3' }`,
    'limits: [{ id: l, per: ["claim:tenant"], concurrentCalls: 5 }]',
  );
  const claims = { team: ['ml'], level: 4, tenant: 'acme', mail: 'ada@example.com' };
  expect(recorded(claims, policy).claims).toEqual({ team: '["ml"]', level: '4', tenant: '"acme"' });
});

test('where a condition goes through all claims, all are kept', () => {
  const policy = policyWith(`  - { id: r, ${RULE}, condition: '"root" in token.claims' }`);
  expect(recorded({ a: 1, b: true }, policy).claims).toEqual({ a: '1', b: 'true' });
});

test('a claim that is too large is left out and named, however large, and the others stay', () => {
  const policy = policyWith(
    `  - { id: r, ${RULE}, condition: '"g1" in token.claims.groups && token.claims.team == "ml"' }`,
  );
  const groups = Array.from({ length: 10_000 }, (_, i) => `group-${i}`);
  expect(recorded({ groups, team: 'ml' }, policy)).toMatchObject({
    claims: { team: '"ml"' },
    claimsLeftOut: ['groups'],
  });
});

test('a subject is told apart by issuer and name, and not named', () => {
  const policy = policyWith(`  - { id: r, ${RULE} }`);
  const digest = (iss: string, sub: string): string => recorded({ iss, sub }, policy).subjectDigest;
  expect(digest('https://i', 'ada')).toMatch(/^[0-9a-f]{32}$/);
  expect(digest('https://i', 'ada')).toBe(digest('https://i', 'ada'));
  expect(digest('https://i', 'ada')).not.toBe(digest('https://j', 'ada'));
  expect(digest('https://i', 'ada')).not.toBe(digest('https://i', 'bob'));
  expect(callerOf('spiffe://a.b/c', null, policy)).toMatchObject({ tokenIssuer: '', subjectDigest: '' });
});
