import type { AuditRecord } from '@gatehouse/contracts/audit';

/** Which records are wanted: those that match all that is given. */
export type RecordFilter = {
  /** Milliseconds since 1970, by when the call began: from here on, and before there. */
  readonly sinceMs?: number | undefined;
  readonly untilMs?: number | undefined;
  /** The caller's SPIFFE ID, its beginning before `*`. */
  readonly identity?: string | undefined;
  /** `pkg.Service/Method`, or its end. */
  readonly method?: string | undefined;
  readonly model?: string | undefined;
  readonly decision?: 'allow' | 'deny' | undefined;
  readonly rule?: string | undefined;
  readonly reason?: string | undefined;
  /** A gRPC status by number. */
  readonly status?: number | undefined;
  readonly decisionId?: string | undefined;
  readonly traceId?: string | undefined;
};

export function matchesFilter(record: AuditRecord, filter: RecordFilter): boolean {
  const { sinceMs, untilMs, identity, method, decision } = filter;
  const startedMs = record.started?.getTime() ?? 0;
  return (
    (sinceMs === undefined || startedMs >= sinceMs) &&
    (untilMs === undefined || startedMs < untilMs) &&
    (identity === undefined || matchesIdentity(record.caller?.identity ?? '', identity)) &&
    (method === undefined || record.method.endsWith(method)) &&
    (decision === undefined || record.allowed === (decision === 'allow')) &&
    isOrAny(record.model, filter.model) &&
    isOrAny(record.ruleId, filter.rule) &&
    isOrAny(record.reason, filter.reason) &&
    isOrAny(record.decisionId, filter.decisionId) &&
    isOrAny(record.traceId, filter.traceId) &&
    (filter.status === undefined || record.outcome?.status === filter.status)
  );
}

function isOrAny(value: string, wanted: string | undefined): boolean {
  return wanted === undefined || value === wanted;
}

function matchesIdentity(identity: string, wanted: string): boolean {
  return wanted.endsWith('*') ? identity.startsWith(wanted.slice(0, -1)) : identity === wanted;
}
