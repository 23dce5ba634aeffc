import { apiKey } from './api-key.ts';
import { card } from './card.ts';
import type { Detector } from './detector.ts';
import { dictionaryDetector } from './dictionary.ts';
import { email } from './email.ts';
import { iban } from './iban.ts';
import { patternDetector } from './pattern.ts';
import { phone } from './phone.ts';
import { privateKey } from './private-key.ts';
import { usSsn } from './us-ssn.ts';

/** A detector of the policy document: one of `pattern` and `words`. */
export interface CustomDetectorSpec {
  readonly name: string;
  /** A regular expression in RE2's syntax. */
  readonly pattern?: string | undefined;
  /** Whole words, without regard to case. */
  readonly words?: readonly string[] | undefined;
  /** Longest match of a pattern, in characters: 1 to 512, default 64. */
  readonly charactersMax?: number | undefined;
}

export interface DetectorProblem {
  /** The detector it is about: one that was named, or one of the custom ones. */
  readonly detector: string;
  readonly problem: string;
}

/** Where two find as much at one place, the first of them names it. */
const BUILT_IN: readonly Detector[] = [privateKey, apiKey, iban, card, usSsn, email, phone];

export const builtInDetectors: readonly string[] = BUILT_IN.map(({ name }) => name);

/** The detectors of these names, built-in ones and those of `custom`; all of `custom` is checked, whether named or not. */
export function compileDetectors(
  names: readonly string[],
  custom: readonly CustomDetectorSpec[],
): { readonly detectors: ReadonlyMap<string, Detector> } | { readonly problems: readonly DetectorProblem[] } {
  const problems: DetectorProblem[] = [];
  const known = new Map(BUILT_IN.map((detector) => [detector.name, detector]));
  for (const spec of custom) {
    const compiled = known.has(spec.name) ? 'has the name of another detector' : compileCustom(spec);
    if (typeof compiled === 'string') problems.push({ detector: spec.name, problem: compiled });
    else known.set(spec.name, compiled);
  }
  const unknown = new Set(
    names.filter((name) => !known.has(name) && !custom.some((spec) => spec.name === name)),
  );
  for (const name of unknown) {
    problems.push({ detector: name, problem: `unknown: expected one of ${[...known.keys()].join(', ')}` });
  }
  if (problems.length > 0) return { problems };
  return { detectors: new Map([...known].filter(([name]) => names.includes(name))) };
}

function compileCustom({ name, pattern, words, charactersMax }: CustomDetectorSpec): Detector | string {
  if (words !== undefined && words.length > 0) return dictionaryDetector(name, words);
  return pattern === undefined
    ? 'has neither a pattern nor words'
    : patternDetector(name, pattern, charactersMax);
}
