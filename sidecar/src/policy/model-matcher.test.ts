import fc from 'fast-check';
import { expect, test } from 'vitest';
import { coversModel, ModelMatcher } from './model-matcher.ts';
import { modelOf } from './model-name.ts';

test('matches as the regular expression does that replaces each star with any run of characters', () => {
  const name = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*'), maxLength: 8 });
  const model = fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 12 });
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 3 }), model, (names, candidate) => {
      const patterns = names.map(
        (text) => new RegExp(`^${text.replaceAll('.', '\\.').replaceAll('*', '.*')}$`),
      );
      expect(new ModelMatcher(names).matches(candidate)).toBe(
        patterns.some((pattern) => pattern.test(candidate)),
      );
    }),
    { numRuns: 3000 },
  );
});

test('takes time linear in the length of a hostile name', () => {
  const matcher = new ModelMatcher([`${'*a'.repeat(100)}b`]);
  const begun = performance.now();
  expect(matcher.matches('a'.repeat(1_000_000))).toBe(false);
  expect(performance.now() - begun).toBeLessThan(500);
});

test.each([
  ['a', 'a@1', true],
  ['a', 'a', true],
  ['a@1', 'a@1', true],
  ['a@1', 'a@2', false],
  ['a@1', 'a', false],
  ['a@*', 'a', false],
  ['a@1.*', 'a@1.7', true],
  ['s*@2', 'small@2', true],
  ['*', 'small@2', true],
  ['a', 'ab@1', false],
  ['*@1', 'a@2@1', false],
])('the entry %s of a rule and the model %s: %s', (entry, model, expected) => {
  expect(new ModelMatcher([entry]).matches(model)).toBe(expected);
});

test('names a model with its version, and takes a version inside the name for it', () => {
  expect(modelOf({ model: 'a', modelVersion: '1' })).toBe('a@1');
  expect(modelOf({ model: 'a@1', modelVersion: '1' })).toBe('a@1');
  expect(modelOf({ model: 'a@1' })).toBe('a@1');
  expect(modelOf({ model: 'a', modelVersion: '' })).toBe('a');
  expect(modelOf({ modelVersion: '1' })).toBe(null);
  expect(modelOf(null)).toBe(null);
});

test('an entry that covers another matches all that the other matches', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '*', '@'), minLength: 1, maxLength: 6 });
  const model = fc.string({ unit: fc.constantFrom('a', 'b', '@'), maxLength: 6 });
  let covered = 0;
  fc.assert(
    fc.property(text, text, fc.array(model, { minLength: 20, maxLength: 20 }), (broad, narrow, models) => {
      if (!coversModel(broad, narrow)) return;
      covered += 1;
      for (const each of models)
        if (new ModelMatcher([narrow]).matches(each))
          expect(new ModelMatcher([broad]).matches(each)).toBe(true);
    }),
    { numRuns: 5000, seed: 20261122 },
  );
  expect(covered).toBeGreaterThan(100);
});
