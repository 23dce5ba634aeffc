import type { Detector } from './detector.ts';
import { email } from './email.ts';

/** A detector of the policy document: `pattern` or `dictionary`. */
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

const BUILT_IN: ReadonlyMap<string, Detector> = new Map([email].map((detector) => [detector.name, detector]));

export const builtInDetectors: readonly string[] = [...BUILT_IN.keys()];

/** The detectors of these names, built-in ones and those of `custom`; all of `custom` is checked, whether named or not. */
export function compileDetectors(
  names: readonly string[],
  custom: readonly CustomDetectorSpec[],
): { readonly detectors: ReadonlyMap<string, Detector> } | { readonly problems: readonly DetectorProblem[] } {
  const problems: DetectorProblem[] = [];
  const detectors = new Map<string, Detector>();
  for (const name of names) {
    const detector = BUILT_IN.get(name);
    if (detector !== undefined) detectors.set(name, detector);
    else if (!custom.some((one) => one.name === name)) problems.push({ detector: name, problem: 'unknown' });
  }
  return problems.length > 0 ? { problems } : { detectors };
}
