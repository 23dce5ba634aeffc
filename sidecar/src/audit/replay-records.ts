import type { AuditRecord } from '@gatehouse/contracts/audit';
import { DENIAL_REASONS, type Decision, type Policy } from '../policy/index.ts';
import type { StoredEntry } from './read-entries.ts';
import { claimNames } from './recorded-claims.ts';

/**
 * What a candidate would change.
 * - `loses`: allowed then, refused by the candidate
 * - `gains`: refused then, allowed by the candidate
 * - `may-lose`, `may-gain`: so it looks, and the candidate asks for something that the policy then in force did not look
 *   at, so that the record does not hold it
 */
type ReplayChange = 'loses' | 'gains' | 'may-lose' | 'may-gain';

/** Decisions that the candidate would change in the same way. */
export type ReplayDifference = {
  readonly change: ReplayChange;
  readonly identity: string;
  /** `pkg.Service/Method` */
  readonly method: string;
  /** Empty: none. */
  readonly model: string;
  /** The rule that decided then, or the reason; and what the candidate would decide by. */
  readonly before: string;
  readonly after: string;
  count: number;
  /** The newest decision of the kind, to look at. */
  decisionId: string;
};

export type ReplayReport = {
  /** Decisions that were asked again. */
  readonly replayed: number;
  readonly unchanged: number;
  /** Records that no rule decided: refused for their token or before policy was asked, or of a method that is gone. */
  readonly passedOver: number;
  /** Most frequent first. */
  readonly differences: readonly ReplayDifference[];
  /** Differences of further kinds, of which there were too many. */
  readonly leftOut: number;
};

const KINDS_MAX = 10_000;
/** What rules say no for; every other reason is another stage's. */
const REASONS_OF_RULES: ReadonlySet<string> = new Set(DENIAL_REASONS);

/** Asks a policy about every recorded decision, with what the record holds of the call. */
export async function replayRecords(
  policy: Policy,
  entries: AsyncIterable<StoredEntry>,
): Promise<ReplayReport> {
  const kinds = new Map<string, ReplayDifference>();
  const wanted = claimNames(policy);
  const count = { replayed: 0, unchanged: 0, passedOver: 0, leftOut: 0 };
  for await (const { content } of entries) {
    if (content.$case !== 'record') continue;
    const record = content.value;
    const decision = decideAgain(policy, record);
    if (decision === null) {
      count.passedOver += 1;
      continue;
    }
    count.replayed += 1;
    if (decision.allowed === record.allowed) count.unchanged += 1;
    else if (!note(kinds, differenceOf(record, decision, wanted))) count.leftOut += 1;
  }
  const differences = [...kinds.values()].toSorted((a, b) => b.count - a.count);
  return { ...count, differences };
}

/** @returns null where the record is of no decision that rules made */
function decideAgain(policy: Policy, record: AuditRecord): Decision | null {
  const { caller, requestFields } = record;
  const method = policy.contract.methods.get(`/${record.method}`);
  const byRules = record.allowed || REASONS_OF_RULES.has(record.reason);
  if (method === undefined || caller === undefined || record.decisionId === '' || !byRules) return null;
  const claims: Record<string, unknown> = {};
  for (const [name, json] of Object.entries(caller.claims)) claims[name] = JSON.parse(json) as unknown;
  return policy.forIdentity(caller.identity).decide({
    method,
    model: record.model === '' ? null : record.model,
    outputTokensLimit: numberIn(requestFields['max_output_tokens']),
    priority: numberIn(requestFields['priority']),
    token: caller.tokenIssuer === '' ? null : { issuer: caller.tokenIssuer, claims },
    nowMs: record.started?.getTime() ?? 0,
  });
}

function numberIn(text: string | undefined): number | null {
  return text === undefined ? null : Number(text);
}

function differenceOf(
  record: AuditRecord,
  decision: Decision,
  wanted: ReturnType<typeof claimNames>,
): ReplayDifference {
  const isSure = holdsWhatDecides(record, decision, wanted);
  const change = decision.allowed ? (isSure ? 'gains' : 'may-gain') : isSure ? 'loses' : 'may-lose';
  return {
    change,
    identity: record.caller?.identity ?? '',
    method: record.method,
    model: record.model,
    before: record.ruleId || record.reason,
    after: decision.ruleId ?? (decision.allowed ? '' : decision.reason),
    count: 1,
    decisionId: record.decisionId,
  };
}

/** Whether the candidate would have seen the call as the record shows it. */
function holdsWhatDecides(
  record: AuditRecord,
  decision: Decision,
  wanted: ReturnType<typeof claimNames>,
): boolean {
  const { caller } = record;
  if (!decision.allowed && record.model === '' && decision.reason === 'MODEL_REQUIRED') return false;
  if (!decision.allowed && caller?.tokenIssuer === '' && decision.reason === 'TOKEN_REQUIRED') return false;
  if (caller === undefined || caller.tokenIssuer === '') return true;
  return wanted !== 'all' && [...wanted].every((name) => Object.hasOwn(caller.claims, name));
}

function note(kinds: Map<string, ReplayDifference>, difference: ReplayDifference): boolean {
  const { count, decisionId, ...kind } = difference;
  const key = JSON.stringify(kind);
  const known = kinds.get(key);
  if (known === undefined && kinds.size >= KINDS_MAX) return false;
  if (known === undefined) {
    kinds.set(key, difference);
  } else {
    known.count += count;
    known.decisionId = decisionId;
  }
  return true;
}
