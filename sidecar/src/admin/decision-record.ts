import type { DecisionRecord, ShadowDecision } from '@gatehouse/contracts/admin';
import type { LoggedDecision } from '../path/decision-log.ts';
import type { ShadowDecision as Differs } from '../policy/index.ts';

/** A kept decision as the admin service shows it: without what it was asked with. */
export function toRecord(decision: LoggedDecision): DecisionRecord {
  const { decisionId, timeMs, allowed, ruleId, reason, identity, method, model } = decision;
  const { policyVersion, traceId, shadow, ruleOwner, ruleLabels } = decision;
  return {
    decisionId,
    time: new Date(timeMs),
    allowed,
    ruleId,
    reason,
    identity,
    method,
    model,
    policyVersion,
    traceId,
    shadow: shadow === null ? undefined : toShadow(shadow),
    ruleOwner,
    ruleLabels: { ...ruleLabels },
  };
}

export function toShadow({ would, ...facts }: Differs): ShadowDecision {
  return { ...facts, wouldAllow: would === 'allow' };
}
