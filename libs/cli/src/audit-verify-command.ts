import type { ChainReport, Checkpoint } from '@gatehouse/sidecar';
import { type AuditFolder, findAuditFolder, readingAudit } from './audit-folder.ts';
import type { CommandContext } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';
import { readInputFile } from './read-input-file.ts';

export type AuditVerifyOptions = {
  /** Holds checkpoints, one a line. */
  readonly checkpoint?: string;
  /** The public key that they are signed with. */
  readonly key?: string;
  readonly json?: boolean;
};

/** `gatehouse audit verify`: whether the entries of a folder are those that were written, all of them, in their order. */
export async function auditVerifyCommand(
  context: CommandContext,
  named: string,
  options: AuditVerifyOptions,
): Promise<number> {
  const { verifyChain } = await import('@gatehouse/sidecar');
  const place = await findAuditFolder(context, named);
  const signed = await checkpointsOf(place, options);
  const report = await readingAudit(() => verifyChain(place.folder, { signed }));
  if (options.json) context.out.line(JSON.stringify(toJson(report, signed)));
  else await showReport(context, report, signed);
  return report.problems.length === 0 ? EXIT.ok : EXIT.no;
}

async function checkpointsOf(
  place: AuditFolder,
  { checkpoint, key }: AuditVerifyOptions,
): Promise<Checkpoint[]> {
  const { readCheckpoint, readVerifyingKey } = await import('@gatehouse/sidecar');
  const keyFile = key ?? place.keyFile;
  if (keyFile === null && checkpoint === undefined) return [];
  if (keyFile === null)
    throw new CommandError('--key is missing: a checkpoint is worth what its signature is');
  const verifying = readVerifyingKey(await readInputFile(keyFile));
  if (typeof verifying === 'string') throw new CommandError(`${keyFile}: ${verifying}`);
  const file = checkpoint ?? place.checkpointFile;
  const lines = (await readInputFile(file)).split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0) throw new CommandError(`${file}: expected a checkpoint on each line`);
  const signed: Checkpoint[] = [];
  for (const [index, line] of lines.entries()) {
    const read = await readCheckpoint(line, verifying);
    if (typeof read === 'string') throw new CommandError(`${file}:${index + 1}: ${read}`, EXIT.no);
    signed.push(read);
  }
  return signed;
}

function toJson(report: ChainReport, signed: readonly Checkpoint[]): object {
  return {
    intact: report.problems.length === 0,
    ...report,
    signedThrough: Math.max(0, ...signed.map(({ sequence }) => sequence)),
  };
}

async function showReport(
  context: CommandContext,
  report: ChainReport,
  signed: readonly Checkpoint[],
): Promise<void> {
  const { formatChainProblem } = await import('@gatehouse/sidecar');
  const { out } = context;
  const { colors } = out;
  const { problems, problemsLeftOut, torn, entries, segments, lastSequence } = report;
  for (const problem of problems) out.line(`${colors.red('✗')} ${formatChainProblem(problem)}`);
  if (problemsLeftOut > 0) out.line(colors.red(`  and ${problemsLeftOut} more`));
  if (torn !== null)
    out.line(
      colors.yellow(
        `  an unfinished entry of ${torn.bytes} bytes at the end (${torn.segment}, offset ${torn.offset}): a sidecar is writing, or was killed; the next start cuts it off`,
      ),
    );
  const through = Math.max(0, ...signed.map(({ sequence }) => sequence));
  const covered =
    through === 0
      ? 'no checkpoint was given: an end that was cut off is not found'
      : `signed through entry ${through}`;
  const what = `${counted(entries, 'entry', 'entries')} in ${counted(segments, 'segment', 'segments')}, the last is ${lastSequence}`;
  out.line(
    problems.length === 0
      ? `${colors.green('✓')} the chain is whole: ${what}; ${covered}`
      : `${colors.red('✗')} the chain is broken: ${what}; ${covered}`,
  );
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}
