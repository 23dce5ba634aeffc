export {
  builtInDetectors,
  type CustomDetectorSpec,
  compileDetectors,
  type DetectorProblem,
} from './detectors/compile-detectors.ts';
export type { Detector } from './detectors/detector.ts';
export { PlaceholderBook } from './placeholder-book.ts';
export { createPseudonyms, type Pseudonyms } from './pseudonyms.ts';
export { createRedactor, type RedactionRule, type Redactor } from './redactor.ts';
export type { Hit, Redacted, Refused, TextWindow } from './text-window.ts';
