import type { Placed, ProblemList, SectionEntry } from './placed-entries.ts';
import { listOf, suggestion } from './schema-parts.ts';

/** Detectors that every sidecar has. */
export const BUILT_IN_DETECTORS: ReadonlySet<string> = new Set([
  'API_KEY',
  'CARD',
  'EMAIL',
  'IBAN',
  'PHONE',
  'PRIVATE_KEY',
  'US_SSN',
]);

/** Says why a detector of the document can't be used; null: it can. */
export type DetectorCheck = (detector: {
  readonly name: string;
  readonly pattern?: string | undefined;
  readonly words?: readonly string[] | undefined;
  readonly charactersMax?: number | undefined;
}) => string | null;

/** Names of protections that nothing answers to. */
export function checkProtections(
  of: {
    readonly protections: readonly Placed<SectionEntry<'protections'>>[];
    readonly detectors: readonly Placed<SectionEntry<'detectors'>>[];
    /** Undefined: not known here. */
    readonly keys: ReadonlySet<string> | undefined;
    readonly detectorProblem: DetectorCheck | undefined;
  },
  problems: ProblemList,
): void {
  for (const detector of of.detectors) {
    const { name, pattern, dictionary, charactersMax } = detector.entry;
    if (BUILT_IN_DETECTORS.has(name))
      problems.add(detector, ['name'], 'expected a name that no built-in detector has', name);
    if (!detector.fits || BUILT_IN_DETECTORS.has(name)) continue;
    const problem = of.detectorProblem?.({ name, pattern, words: dictionary?.words, charactersMax }) ?? null;
    const form = pattern === undefined ? 'words to look for' : 'a regular expression in RE2’s syntax';
    if (problem !== null)
      problems.add(
        detector,
        [pattern === undefined ? 'dictionary' : 'pattern'],
        `expected ${form}: ${problem}`,
        pattern,
      );
  }
  const known = new Set([...BUILT_IN_DETECTORS, ...of.detectors.map(({ entry }) => entry.name)]);
  for (const protection of of.protections) {
    const { detectors, action, key } = protection.entry;
    for (const [index, name] of listOf(detectors).entries()) {
      if (typeof name !== 'string' || known.has(name)) continue;
      const form = `expected a built-in detector or one of detectors${suggestion(name, known)}`;
      problems.add(protection, ['detectors', index], form, name);
    }
    const needsKey = typeof action === 'string' && action.includes('PSEUDONYMISE');
    if (needsKey && key === undefined)
      problems.add(protection, ['action'], 'expected a key beside it: pseudonyms are made with one', action);
    if (!needsKey && key !== undefined && protection.fits)
      problems.add(protection, ['key'], 'expected no key: pseudonyms alone are made with one', key);
    if (needsKey && typeof key === 'string' && of.keys !== undefined && !of.keys.has(key)) {
      const form = `expected the name of a key in the sidecar's configuration${suggestion(key, of.keys)}`;
      problems.add(protection, ['key'], form, key);
    }
  }
}
