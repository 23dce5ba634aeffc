export { detectorProblem } from './detector-problem.ts';
export {
  builtInDetectors,
  type CustomDetectorSpec,
  compileDetectors,
  type DetectorProblem,
} from './detectors/compile-detectors.ts';
export type { Detector } from './detectors/detector.ts';
export type { HitCounts } from './messages/hit-counts.ts';
export { inflateMessage } from './messages/inflate-message.ts';
export type { MessageProtection } from './messages/message-protection.ts';
export type { ProtectionRefusal } from './messages/protection-refusal.ts';
export { PlaceholderBook } from './placeholder-book.ts';
export { Protectors } from './protectors.ts';
export { createPseudonyms, PSEUDONYM_KEY_BYTES_MIN, type Pseudonyms } from './pseudonyms.ts';
export { createRedactor, type RedactionRule, type Redactor } from './redactor.ts';
export type { Hit, Redacted, Refused, TextWindow } from './text-window.ts';
