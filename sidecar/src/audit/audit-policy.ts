import { AuditFailure } from '@gatehouse/contracts/policy';
import type { Policy } from '../policy/index.ts';

/** What a policy says of records, with its defaults. */
export type AuditRules = {
  /** The share of allowed calls that are recorded. */
  readonly allowedSampleRatio: number;
  readonly answerWaits: boolean;
  readonly refusesOnFailure: boolean;
};

const DEFAULT: AuditRules = { allowedSampleRatio: 1, answerWaits: false, refusesOnFailure: true };
const known = new WeakMap<Policy, AuditRules>();

export function auditRules(policy: Policy | null): AuditRules {
  if (policy === null) return DEFAULT;
  let rules = known.get(policy);
  if (rules === undefined) {
    const { allowedSampleRatio = 1, answerWaits = false, onFailure } = policy.document.audit ?? {};
    rules = {
      allowedSampleRatio,
      answerWaits,
      refusesOnFailure: onFailure !== AuditFailure.AUDIT_FAILURE_CONTINUE,
    };
    known.set(policy, rules);
  }
  return rules;
}

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;
const UINT32 = 2 ** 32;

/** Whether an allowed call is recorded: the same answer for the same decision, wherever it is asked. */
export function isSampled(decisionId: string, ratio: number): boolean {
  if (ratio >= 1) return true;
  if (ratio <= 0) return false;
  let mixed = FNV_OFFSET;
  for (let at = 0; at < decisionId.length; at++)
    mixed = Math.imul(mixed ^ decisionId.charCodeAt(at), FNV_PRIME);
  // Finalised as in MurmurHash3: counters that differ in their last digit alone would lie beside each other.
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return ((mixed ^ (mixed >>> 16)) >>> 0) / UINT32 < ratio;
}
