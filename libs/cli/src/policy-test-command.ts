import { formatProblem } from '@gatehouse/documents';
import type { ExpectationResult } from '@gatehouse/sidecar';
import { type CommandContext, runningMesh } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';
import { loadPolicy } from './load-policy.ts';
import { readInputFile } from './read-input-file.ts';
import { showTable } from './table.ts';

export type PolicyTestOptions = {
  /** The policy document. Default: the one that the running mesh enforces. */
  readonly policy?: string;
  readonly json?: boolean;
};

/** `gatehouse policy test`: asks a policy about calls and compares its answers with what a file expects. */
export async function policyTestCommand(
  context: CommandContext,
  file: string,
  options: PolicyTestOptions,
): Promise<number> {
  const { runExpectations } = await import('@gatehouse/sidecar');
  const policyFile = options.policy ?? (await runningMesh(context)).policyFile;
  const policy = await loadPolicy(policyFile);
  const ran = runExpectations(await readInputFile(file), { policy, fileName: file, nowMs: context.clock() });
  if ('problems' in ran) throw new CommandError(ran.problems.map(formatProblem).join('\n'));
  const failed = ran.results.filter(({ passed }) => !passed);
  if (options.json) context.out.line(JSON.stringify(ran.results.map(toJson)));
  else showResults(context, ran.results, { file, policyFile });
  return failed.length === 0 ? EXIT.ok : EXIT.no;
}

function toJson(result: ExpectationResult): object {
  const { decision, ...asked } = result;
  return {
    ...asked,
    allowed: decision.allowed,
    rule: decision.ruleId,
    reason: decision.allowed ? null : decision.reason,
  };
}

function showResults(
  { out }: CommandContext,
  results: readonly ExpectationResult[],
  files: { readonly file: string; readonly policyFile: string },
): void {
  const { colors } = out;
  showTable(
    out,
    ['', 'line', 'caller', 'method', 'model', 'decision', 'by rule', 'reason'],
    results.map(({ from, to, model, decision, passed, line }) => [
      passed ? '✓' : '✗',
      String(line),
      from.slice(from.indexOf('/', 'spiffe://'.length) + 1),
      to.slice(to.lastIndexOf('.', to.indexOf('/')) + 1),
      model ?? '–',
      decision.allowed ? 'allow' : 'deny',
      decision.ruleId ?? '–',
      decision.allowed ? '–' : decision.reason,
    ]),
  );
  const failed = results.filter(({ passed }) => !passed);
  for (const { expected, expectedRule, expectedReason, decision, line } of failed) {
    const wanted = `${expected}${expectedRule === null ? '' : ` by rule ${expectedRule}`}${expectedReason === null ? '' : ` (${expectedReason})`}`;
    const got = decision.allowed ? 'allowed' : `refused (${decision.reason})`;
    const by = decision.ruleId === null ? 'by no rule' : `by rule ${decision.ruleId}`;
    out.line(colors.red(`${files.file}:${line}: got ${got} ${by}, expected ${wanted}`));
  }
  out.line(
    colors.dim(
      `${results.length - failed.length} of ${results.length} expectations hold for ${files.policyFile}`,
    ),
  );
}
