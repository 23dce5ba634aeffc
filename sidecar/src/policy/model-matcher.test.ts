import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ModelMatcher } from './model-matcher.ts';

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
