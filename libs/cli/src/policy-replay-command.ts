import type { ReplayDifference, ReplayReport } from '@gatehouse/sidecar';
import { findAuditFolder, readingAudit } from './audit-folder.ts';
import type { CommandContext } from './command-context.ts';
import { EXIT } from './command-error.ts';
import { loadPolicy } from './load-policy.ts';
import { showTable } from './table.ts';

export type PolicyReplayOptions = {
  /** A folder with audit segments, or a service of the local mesh. */
  readonly from: string;
  /** Exit code 1 where a call that was allowed would be refused, or might be. */
  readonly failOnLoss?: boolean;
  readonly json?: boolean;
};

/** `gatehouse policy replay`: what a policy document would have decided otherwise about the calls on record. */
export async function policyReplayCommand(
  context: CommandContext,
  policyFile: string,
  options: PolicyReplayOptions,
): Promise<number> {
  const { readEntries, replayRecords } = await import('@gatehouse/sidecar');
  const policy = await loadPolicy(policyFile);
  const { folder } = await findAuditFolder(context, options.from);
  const report = await readingAudit(() => replayRecords(policy, readEntries(folder)));
  if (options.json) context.out.line(JSON.stringify({ policyVersion: policy.version, ...report }));
  else showReport(context, report, policy.version);
  const loses = report.differences.some(({ change }) => change === 'loses' || change === 'may-lose');
  return options.failOnLoss && (loses || report.leftOut > 0) ? EXIT.no : EXIT.ok;
}

const CHANGES: Readonly<Record<ReplayDifference['change'], string>> = {
  loses: 'loses',
  'may-lose': 'may lose',
  gains: 'gains',
  'may-gain': 'may gain',
};

/** The differences alone. */
export function showReplay({ out }: CommandContext, { differences, leftOut }: ReplayReport): void {
  const rows = differences.map((each) => [
    String(each.count),
    CHANGES[each.change],
    each.identity,
    each.method.slice(each.method.lastIndexOf('.') + 1),
    each.model || '–',
    each.before || '–',
    each.after || '–',
    each.decisionId,
  ]);
  const columns = ['calls', 'access', 'caller', 'method', 'model', 'decided by', 'now by', 'for example'];
  if (rows.length > 0) showTable(out, columns, rows);
  if (leftOut > 0) out.line(out.colors.yellow(`${leftOut} differences of further kinds are left out`));
  if (differences.some(({ change }) => change.startsWith('may')))
    out.line(
      out.colors.yellow(
        '"may": the policy then in force did not look at something that this one asks for, so the record does not hold it',
      ),
    );
}

function showReport(context: CommandContext, report: ReplayReport, version: string): void {
  const { out } = context;
  const { replayed, unchanged, passedOver } = report;
  showReplay(context, report);
  out.line(
    out.colors.dim(
      `${replayed} decisions asked again of policy ${version}: ${unchanged} the same, ${replayed - unchanged} others; ${passedOver} records passed over that no rule had decided`,
    ),
  );
}
