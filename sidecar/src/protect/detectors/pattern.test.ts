import { RE2JS } from 're2js';
import { describe, expect, it } from 'vitest';
import { Random } from '../../../test/protect-corpus/random.ts';
import { type Detector, MORE, NONE } from './detector.ts';
import { patternDetector } from './pattern.ts';

function compiled(pattern: string, charactersMax = 64): Detector {
  const detector = patternDetector('CUSTOM', pattern, charactersMax);
  if (typeof detector === 'string') throw new Error(detector);
  return detector;
}

describe('a pattern', () => {
  it('matches as the library does, the longest of all matches, at every place of random texts', () => {
    const random = new Random(41);
    const patterns = [
      'a(b|c)*d?',
      '\\bab+\\b',
      '(?i)ab|abc|cab',
      '^a.c$',
      '(?m)^b|c$',
      '[^a]{2,3}',
      'a|é|😀b?',
      '(?:a|ab)(?:c|bcd)',
      '\\Bc',
      '\\pL+1',
    ];
    for (const pattern of patterns) {
      const detector = compiled(pattern);
      const oracle = RE2JS.compile(pattern, RE2JS.LONGEST_MATCH);
      for (let count = 0; count < 300; count++) {
        const text = Array.from({ length: random.integer(0, 8) }, () =>
          random.pick(['a', 'b', 'c', 'd', 'B', 'C', ' ', '\n', 'é', '😀', '1']),
        ).join('');
        const matcher = oracle.matcher(text);
        const first = matcher.find() ? { at: matcher.start(), end: matcher.end() } : null;
        if (first === null || first.end === first.at) continue;
        expect(detector.match(text, first.at, true), `${pattern} in ${JSON.stringify(text)}`).toBe(first.end);
        for (let at = 0; at < first.at; at++) expect(detector.match(text, at, true)).toBe(NONE);
      }
    }
  });

  it('is told to begin with just the characters that it can begin with', () => {
    const { starts } = compiled('(?i:k)[0-9]+|\\bx');
    const codes = Array.from(starts.ascii.keys()).filter((code) => starts.ascii[code] === 1);
    expect(String.fromCharCode(...codes)).toBe('Kkx');
    expect(starts.beyondAscii).toBe(true);
    expect(compiled('abc').starts.beyondAscii).toBe(false);
  });

  it('waits for more text only where more text can matter', () => {
    const detector = compiled('PRJ-[0-9]{4}');
    expect(detector.match('PRJ-12', 0, false)).toBe(MORE);
    expect(detector.match('PRJ-12', 0, true)).toBe(NONE);
    expect(detector.match('PRJ-1234', 0, false)).toBe(8);
    expect(compiled('PRJ-[0-9]{4}\\b').match('PRJ-1234', 0, false)).toBe(MORE);
  });

  it('matches no further than its longest match', () => {
    expect(compiled('x[a-z]*', 5).match('xabcdefgh', 0, true)).toBe(5);
    expect(compiled('x[a-z]*y', 5).match('xabcdefy', 0, true)).toBe(NONE);
  });

  it.each([
    ['(', /missing closing/],
    ['(?=a)b', /./],
    ['(a)\\1', /./],
    ['(?:a{900}){9}', /./],
    ['(?:[a-z]{500}|x){2}[0-9]{900}b{900}', /instructions/],
  ])('that is %s is refused with a reason', (pattern, reason) => {
    expect(patternDetector('CUSTOM', pattern)).toMatch(reason);
  });
});
