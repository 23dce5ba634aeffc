import { AuditRecord } from '@gatehouse/contracts/audit';
import type { RecordFilter } from '@gatehouse/sidecar';
import { status } from '@grpc/grpc-js';
import { findAuditFolder, readingAudit } from './audit-folder.ts';
import type { CommandContext } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';
import { showTable } from './table.ts';

export type AuditQueryOptions = {
  readonly since?: string;
  readonly until?: string;
  readonly identity?: string;
  readonly method?: string;
  readonly model?: string;
  readonly decision?: string;
  readonly rule?: string;
  readonly reason?: string;
  readonly status?: string;
  readonly decisionId?: string;
  readonly traceId?: string;
  readonly limit: number;
  readonly json?: boolean;
};

type Found = { readonly sequence: number; readonly record: AuditRecord };

/** `gatehouse audit query`: the newest records that match, oldest first. */
export async function auditQueryCommand(
  context: CommandContext,
  named: string,
  options: AuditQueryOptions,
): Promise<number> {
  const { matchesFilter, readEntries } = await import('@gatehouse/sidecar');
  const { folder } = await findAuditFolder(context, named);
  const filter = toFilter(options);
  const found: Found[] = [];
  let total = 0;
  await readingAudit(async () => {
    for await (const { sequence, content } of readEntries(folder)) {
      if (content.$case !== 'record' || !matchesFilter(content.value, filter)) continue;
      total += 1;
      found.push({ sequence, record: content.value });
      if (found.length > options.limit) found.shift();
    }
  });
  if (options.json)
    for (const { sequence, record } of found)
      context.out.line(JSON.stringify({ sequence, ...(AuditRecord.toJSON(record) as object) }));
  else showRecords(context, found, total);
  return EXIT.ok;
}

function toFilter(options: AuditQueryOptions): RecordFilter {
  const { identity, method, model, decision, rule, reason, decisionId, traceId } = options;
  if (decision !== undefined && decision !== 'allow' && decision !== 'deny')
    throw new CommandError(`--decision ${decision}: expected allow or deny`);
  return {
    sinceMs: timeOf('--since', options.since),
    untilMs: timeOf('--until', options.until),
    status: statusOf(options.status),
    identity,
    method,
    model,
    decision,
    rule,
    reason,
    decisionId,
    traceId,
  };
}

function timeOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const timeMs = Date.parse(text);
  if (Number.isNaN(timeMs))
    throw new CommandError(`${option} ${text}: expected a time such as 2026-11-22T14:00Z`);
  return timeMs;
}

function statusOf(name: string | undefined): number | undefined {
  if (name === undefined) return undefined;
  const code = status[name.toUpperCase() as keyof typeof status] as number | undefined;
  if (code === undefined)
    throw new CommandError(`--status ${name}: expected a gRPC status such as NOT_FOUND`);
  return code;
}

function showRecords(context: CommandContext, found: readonly Found[], total: number): void {
  const { out } = context;
  const rows = found.map(({ sequence, record }) => [
    String(sequence),
    record.started?.toISOString() ?? '',
    record.caller?.identity ?? '',
    record.method.slice(record.method.lastIndexOf('.') + 1),
    record.model || '–',
    record.allowed ? 'allow' : 'deny',
    record.ruleId || '–',
    record.reason || '–',
    status[record.outcome?.status ?? status.UNKNOWN] ?? '',
    `${record.outcome?.inputTokens ?? 0}/${record.outcome?.outputTokens ?? 0}`,
    record.decisionId || '–',
  ]);
  const columns = [
    'entry',
    'time',
    'caller',
    'method',
    'model',
    'decision',
    'rule',
    'reason',
    'status',
    'tokens',
    'decision id',
  ];
  if (rows.length > 0) showTable(out, columns, rows);
  const shown = total > found.length ? `, the newest ${found.length} are shown` : '';
  out.line(out.colors.dim(`${total === 1 ? '1 record matches' : `${total} records match`}${shown}`));
}
