import type { PolicySource } from './config/policy-source.ts';
import type { Clock } from './path/call.ts';

type Parts = { readonly policy: PolicySource | null; readonly clock: Clock };

/** Why the newest documents are refused, one line a problem; empty when they are in force. */
export function policyProblems(policy: PolicySource | null): readonly string[] {
  return [policy?.refusal(), policy?.shadowRefusal()].flatMap((refusal) => refusal?.problems ?? []);
}

/** For readiness: an older policy than the newest is in force, and since when. */
export function policyNotes({ policy, clock }: Parts): string[] {
  const refusal = policy?.refusal();
  if (!policy || !refusal) return [];
  const ageS = Math.round((clock() - policy.loadedAtMs()) / 1000);
  return [
    `the newest policy is refused (${refusal.reason}); ${policy.current().version}, ${ageS} s old, stays: ${refusal.problems[0] ?? ''}`,
  ];
}
