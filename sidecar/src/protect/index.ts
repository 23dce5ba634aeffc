export { detectorProblem } from './detector-problem.ts';
export { builtInDetectors } from './detectors/compile-detectors.ts';
export type { HitCounts } from './messages/hit-counts.ts';
export { inflateMessage } from './messages/inflate-message.ts';
export type { MessageProtection } from './messages/message-protection.ts';
export type { ProtectionRefusal } from './messages/protection-refusal.ts';
export { openPseudonyms, PSEUDONYM_KEY_BYTES_MIN } from './open-pseudonyms.ts';
export { Protectors } from './protectors.ts';
export type { Pseudonyms } from './pseudonyms.ts';
