import type { DecisionRecord, ShadowDecision } from '@gatehouse/contracts/admin';
import type { LoggedDecision } from '../path/decision-log.ts';
import type { ShadowDecision as Differs } from '../policy/index.ts';

/** A kept decision as the admin service shows it: without what it was asked with. */
export function toRecord({ timeMs, asked: _, shadow, ...facts }: LoggedDecision): DecisionRecord {
  return {
    ...facts,
    time: new Date(timeMs),
    ruleLabels: { ...facts.ruleLabels },
    shadow: shadow === null ? undefined : toShadow(shadow),
  };
}

export function toShadow({ would, ...facts }: Differs): ShadowDecision {
  return { ...facts, wouldAllow: would === 'allow' };
}
