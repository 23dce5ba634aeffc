export { type CallKind, type Contract, type ContractMethod, loadContract } from './contract.ts';
export type { FieldReader, FieldValues, Malformed } from './field-reader.ts';
export { nearestName } from './nearest-name.ts';
export { type CostUnit, type Overlay, parseOverlay } from './overlay.ts';
export {
  decodeStatusDetails,
  ERROR_DOMAIN,
  encodeStatusDetails,
  STATUS_DETAILS_KEY,
  type StatusDetails,
} from './status-details.ts';
export { findUnclassified, type Unclassified } from './unclassified.ts';
