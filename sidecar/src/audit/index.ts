export type { AuditLog, WrittenEntry } from './audit-log.ts';
export { auditRules, isSampled } from './audit-policy.ts';
export {
  type Checkpoint,
  generateSigningKey,
  readCheckpoint,
  readSigningKey,
  readVerifyingKey,
} from './checkpoint.ts';
export { type OpenAudit, openAudit } from './open-audit.ts';
export { readEntries, type StoredEntry } from './read-entries.ts';
export { matchesFilter, type RecordFilter } from './record-filter.ts';
export { callerOf } from './recorded-claims.ts';
export { type ReplayDifference, type ReplayReport, replayRecords } from './replay-records.ts';
export { type ChainReport, formatChainProblem, verifyChain } from './verify-chain.ts';
