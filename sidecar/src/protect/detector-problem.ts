import { type CustomDetectorSpec, compileDetectors } from './detectors/compile-detectors.ts';

/** Why a detector of a policy document can't be used; null when it can. */
export function detectorProblem(spec: CustomDetectorSpec): string | null {
  const compiled = compileDetectors([], [spec]);
  return 'problems' in compiled ? (compiled.problems[0]?.problem ?? null) : null;
}
