/** What tools need of the sidecar: to read its files as it does, and to ask its policy. */

export { answerExplain } from './admin/explain.ts';
export {
  type ChainReport,
  type Checkpoint,
  formatChainProblem,
  generateSigningKey,
  matchesFilter,
  type RecordFilter,
  type ReplayDifference,
  type ReplayReport,
  readCheckpoint,
  readEntries,
  readVerifyingKey,
  replayRecords,
  type StoredEntry,
  verifyChain,
} from './audit/index.ts';
export { loadContractFiles } from './config/load-contract-files.ts';
export { loadProtectionKeys } from './config/load-protection-keys.ts';
export { parseConfig } from './config/parse.ts';
export { loadDocument } from './config/policy-document.ts';
export { SIGNATURE_SUFFIX, signPolicy } from './config/policy-signature.ts';
export { type SidecarConfig, sidecarConfigJsonSchema } from './config/schema.ts';
export {
  compilePolicy,
  diffPolicies,
  type ExpectationResult,
  explainPolicy,
  type Policy,
  type PolicyDifference,
  policyJsonSchema,
  runExpectations,
} from './policy/index.ts';
