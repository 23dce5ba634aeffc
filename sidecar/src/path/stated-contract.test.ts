import { expect, test } from 'vitest';
import { StatedContracts } from './stated-contract.ts';

test.each<[string | null, boolean, string]>([
  [null, true, 'passes'],
  ['1.2.0', true, 'passes'],
  ['1.0.7', true, 'passes'],
  ['1.3.0', true, 'passes'],
  ['1.3.0', false, 'contract-mismatch'],
  ['1.2.0', false, 'passes'],
  ['2.0.0', true, 'contract-mismatch'],
  ['0.9.0', true, 'contract-mismatch'],
  ['latest', true, 'malformed'],
  ['1.2', true, 'malformed'],
])('a stub of %s where 1.2.0 is served, method known: %s: %s', (stated, isKnown, expected) => {
  const stubs = new StatedContracts('1.2.0');
  for (const _ of ['at first', 'again'])
    expect(stubs.refuse(stated, isKnown)?.kind ?? 'passes').toBe(expected);
});

test('stubs that take turns get each their own verdict', () => {
  const stubs = new StatedContracts('1.2.0');
  const turns = ['1.2.0', '2.0.0', '1.1.0', 'x', '1.2.0', null];
  expect(turns.map((stated) => stubs.refuse(stated, true)?.kind ?? 'passes')).toEqual([
    'passes',
    'contract-mismatch',
    'passes',
    'malformed',
    'passes',
    'passes',
  ]);
});

test('where the contract states no version, no stub is refused for its own', () => {
  expect(new StatedContracts(null).refuse('7.0.0', true)).toBeNull();
});

test('judges stubs of any number of versions, and keeps the verdicts of a few', () => {
  const stubs = new StatedContracts('1.2.0');
  for (let minor = 0; minor < 40; minor++) {
    const kinds = [true, false].map((isKnown) => stubs.refuse(`1.${minor}.0`, isKnown)?.kind ?? 'passes');
    expect(kinds).toEqual(['passes', minor > 2 ? 'contract-mismatch' : 'passes']);
  }
});
