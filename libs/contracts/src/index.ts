export { type CallKind, type Contract, type ContractMethod, loadContract } from './contract.ts';
export {
  CONTRACT_HEADER,
  CONTRACT_VERSION_PATTERN,
  type ContractFit,
  contractFit,
} from './contract-version.ts';
export type { FieldReader, FieldValues, Malformed } from './field-reader.ts';
export { nearestName } from './nearest-name.ts';
export { numberText } from './number-text.ts';
export { type CostUnit, type Overlay, parseOverlay } from './overlay.ts';
export type { FieldEdit } from './splice-fields.ts';
export {
  decodeStatusDetails,
  ERROR_DOMAIN,
  encodeStatusDetails,
  STATUS_DETAILS_KEY,
  type StatusDetails,
} from './status-details.ts';
export { decodeStatusMessage, encodeStatusMessage } from './status-message.ts';
export type { MessageNode, TextLeaf } from './text-leaf.ts';
export {
  EVERY_SENSITIVITY,
  mayHoldDeltas,
  type PlanStep,
  type SensitivityBits,
  type TextPlan,
} from './text-plan.ts';
export { TextWalker } from './text-walker.ts';
export { findUnclassified, type Unclassified } from './unclassified.ts';
