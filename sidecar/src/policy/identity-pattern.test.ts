import { expect, test } from 'vitest';
import { coversIdentity, type IdentityPattern, parseIdentityPattern } from './identity-pattern.ts';

function parsed(text: string): IdentityPattern {
  const pattern = parseIdentityPattern(text);
  if (pattern === undefined) throw new Error(`${text} is no pattern`);
  return pattern;
}

test.each([
  ['spiffe://a.b/ns/x', 'spiffe://a.b/ns/x', true],
  ['spiffe://a.b/ns/x', 'spiffe://a.b/ns/X', false],
  ['spiffe://a.b/ns/x', 'spiffe://a.b/ns/x/y', false],
  ['spiffe://a.b/ns/x', 'spiffe://a.c/ns/x', false],
  ['spiffe://a.b/ns/*/sa/y', 'spiffe://a.b/ns/anything/sa/y', true],
  ['spiffe://a.b/ns/*/sa/y', 'spiffe://a.b/ns/one/two/sa/y', false],
  ['spiffe://a.b/ns/*', 'spiffe://a.b/ns', false],
  ['spiffe://a.b/ns/**', 'spiffe://a.b/ns/one', true],
  ['spiffe://a.b/ns/**', 'spiffe://a.b/ns/one/two/three', true],
  ['spiffe://a.b/ns/**', 'spiffe://a.b/ns', false],
  ['spiffe://a.b/ns/**', 'spiffe://a.b/nsx/one', false],
  ['spiffe://a.b/**', 'spiffe://a.b/any', true],
])('%s names %s: %s', (pattern, identity, expected) => {
  expect(coversIdentity(parsed(pattern), parsed(identity))).toBe(expected);
});

test.each([
  'spiffe://a.b',
  'spiffe://a.b/',
  'spiffe://a.b/x/',
  'spiffe://a.b//x',
  'spiffe:///x',
  'spiffe://A.B/x',
  'spiffe://*/x',
  'spiffe://a.b/x*',
  'spiffe://a.b/**/x',
  'spiffe://a.b/../x',
  'spiffe://a.b/x?y',
  'spiffe://a.b/é',
  'spiffe://user@a.b/x',
  'spiffe://a.b:80/x',
  'https://a.b/x',
  `spiffe://a.b/${'x'.repeat(2048)}`,
])('takes %s for no identity', (text) => {
  expect(parseIdentityPattern(text)).toBeUndefined();
});
