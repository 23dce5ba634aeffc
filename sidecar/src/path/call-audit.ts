import type { AuditRecord } from '@gatehouse/contracts/audit';
import { type AuditLog, auditRules, callerOf, isSampled } from '../audit/index.ts';
import type { Policy } from '../policy/index.ts';
import type { Outcome } from './8-observe.ts';
import type { Call, Clock } from './call.ts';
import { GrpcStatus } from './grpc-status.ts';
import type { Refusal } from './refusal.ts';

export type CallAuditParts = {
  /** Null: the configuration has no audit folder. */
  readonly log: AuditLog | null;
  readonly policy: () => Policy | null;
  /** Our own SPIFFE ID. */
  readonly workload: () => string;
  readonly clock: Clock;
};

/** ErrorInfo.reason of a call that is refused because its record could not be kept. */
const AUDIT_UNAVAILABLE = 'AUDIT_UNAVAILABLE';
const NO_FOLDER = 'policy asks for audit records, and the configuration has no audit folder';
/** Names come from the wire in part: a record holds so much of each. */
const NAME_CHARACTERS_MAX = 256;
const LIMITS_MAX = 64;

/** Makes a record of every decision of one direction, as policy asks for. */
export class CallAudit {
  readonly #parts: CallAuditParts;

  constructor(parts: CallAuditParts) {
    this.#parts = parts;
  }

  /** Why no call is taken at the moment: its record could not be kept, and policy wants one. */
  unavailable(): Refusal | null {
    const { log, policy } = this.#parts;
    const current = policy();
    const isKept = log === null ? current?.document.audit === undefined : log.unavailableBecause === null;
    if (isKept || !auditRules(current).refusesOnFailure) return null;
    log?.callRefused();
    return { kind: 'audit-unavailable' };
  }

  /** Why the sidecar takes no calls: a sentence; empty when it does. */
  notReadyBecause(): string {
    const problem = this.#problem();
    return problem !== '' && auditRules(this.#parts.policy()).refusesOnFailure ? problem : '';
  }

  /** What is wrong although calls go on, as policy wants. */
  notes(): readonly string[] {
    const problem = this.#problem();
    return problem === '' ? [] : [problem];
  }

  #problem(): string {
    const { log, policy } = this.#parts;
    if (log === null) return policy()?.document.audit === undefined ? '' : NO_FOLDER;
    return log.unavailableBecause === null
      ? ''
      : `audit records cannot be written: ${log.unavailableBecause}`;
  }

  /** Whether a call that is allowed will have a record. */
  records(call: Call): boolean {
    const { log, policy } = this.#parts;
    return log !== null && isSampled(call.decisionId, auditRules(policy()).allowedSampleRatio);
  }

  /** The call has ended, or is decided again: keeps its record, once. */
  record(call: Call, outcome: Outcome, decidedAgain = false): AuditRecord | null {
    const { log, policy, clock } = this.#parts;
    if (log === null || call.audited) return null;
    // Refused for want of a record before anything was decided: the log counts it.
    if (outcome.refusal?.reason === AUDIT_UNAVAILABLE && call.decision === null) return null;
    if (!decidedAgain) call.audited = true;
    const current = policy();
    const { allowedSampleRatio, refusesOnFailure } = auditRules(current);
    const passed = call.decision?.allowed === true && outcome.refusal === null;
    if (passed && !isSampled(call.decisionId, allowedSampleRatio)) return null;
    const record = this.#recordOf(call, outcome, current);
    record.started = new Date(call.startedAtMs);
    record.ended = new Date(clock());
    if (decidedAgain && record.outcome) record.outcome.decidedAgain = true;
    // What is refused before anything is decided has not been asked whether there is room for it.
    log.append(record, !refusesOnFailure || call.decision === null);
    return record;
  }

  /**
   * Keeps the record of a call whose status waits for it.
   * @returns whether it is on disk; null when nothing has to be waited for
   */
  recordBeforeAnswer(call: Call, outcome: Outcome): Promise<boolean> | null {
    const { log, policy } = this.#parts;
    const { answerWaits, refusesOnFailure } = auditRules(policy());
    if (!answerWaits || log === null || call.audited) return null;
    const record = this.record(call, outcome);
    if (record === null) return null;
    return log.durable().then((isDurable) => {
      if (isDurable || !refusesOnFailure) return true;
      // It waits for the disk still, and says what the caller is told.
      record.reason = AUDIT_UNAVAILABLE;
      if (record.outcome) record.outcome.status = GrpcStatus.UNAVAILABLE;
      return false;
    });
  }

  #recordOf(call: Call, outcome: Outcome, policy: Policy | null): AuditRecord {
    const { decision, requestValues } = call;
    const shadow = decision?.shadow ?? null;
    const requestFields: Record<string, string> = {};
    if (requestValues?.outputTokensLimit !== undefined)
      requestFields['max_output_tokens'] = String(requestValues.outputTokensLimit);
    if (requestValues?.priority !== undefined) requestFields['priority'] = String(requestValues.priority);
    return {
      decisionId: call.decisionId,
      started: undefined,
      ended: undefined,
      caller: callerOf(call.identity, call.token, policy),
      workload: this.#parts.workload(),
      method: clip(call.path.slice(1)),
      model: clip(call.model ?? ''),
      allowed: decision?.allowed ?? false,
      ruleId: decision?.ruleId ?? '',
      reason: outcome.refusal?.reason ?? '',
      policyVersion: decision?.policyVersion ?? policy?.version ?? '',
      shadowDifference:
        shadow === null
          ? undefined
          : {
              ruleId: shadow.ruleId,
              wouldAllow: shadow.would === 'allow',
              reason: shadow.reason,
              policyVersion: shadow.policyVersion,
            },
      limits: call.limitsTouched.slice(0, LIMITS_MAX),
      detections: { ...call.detections },
      outcome: {
        status: outcome.status,
        inputTokens: BigInt(call.inputTokens),
        outputTokens: BigInt(call.outputTokens),
        requestMessages: outcome.requestMessages,
        responseMessages: outcome.responseMessages,
        decidedAgain: false,
      },
      traceId: call.trace?.traceId ?? '',
      requestFields,
    };
  }
}

function clip(name: string): string {
  return name.length > NAME_CHARACTERS_MAX ? `${name.slice(0, NAME_CHARACTERS_MAX)}…` : name;
}
