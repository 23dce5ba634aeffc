import { formatProblem } from '@gatehouse/documents';
import type { ExpectationResult, Policy } from '@gatehouse/sidecar';
import { type CommandContext, runningMesh } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';
import { readInputFile } from './read-input-file.ts';

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
  const ran = runExpectations(await readInputFile(file), { policy, fileName: file });
  if ('problems' in ran) throw new CommandError(ran.problems.map(formatProblem).join('\n'));
  const failed = ran.results.filter(({ passed }) => !passed);
  if (options.json) context.out.line(JSON.stringify(ran.results.map(toJson)));
  else showResults(context, ran.results, { file, policyFile });
  return failed.length === 0 ? EXIT.ok : EXIT.no;
}

/** @throws CommandError with every problem of the document */
export async function loadPolicy(policyFile: string): Promise<Policy> {
  const { compilePolicy, loadContractFiles } = await import('@gatehouse/sidecar');
  const loaded = await loadContractFiles({ overlayFiles: [] });
  if ('problems' in loaded) throw new CommandError(loaded.problems.join('\n'));
  const compiled = compilePolicy(await readInputFile(policyFile), {
    contract: loaded.contract,
    fileName: policyFile,
  });
  if ('problems' in compiled) throw new CommandError(compiled.problems.map(formatProblem).join('\n'));
  return compiled.policy;
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
  context: CommandContext,
  results: readonly ExpectationResult[],
  files: { readonly file: string; readonly policyFile: string },
): void {
  const { out } = context;
  const { colors } = out;
  for (const { from, to, model, expected, expectedRule, decision, passed, line } of results) {
    const call = `${from} → ${to}${model === null ? '' : ` with model ${model}`}`;
    const rule = expectedRule === null ? '' : ` by rule ${expectedRule}`;
    out.line(`${passed ? colors.green('✓') : colors.red('✗')} ${expected}${rule}: ${call}`);
    if (passed) continue;
    const got = decision.allowed ? 'allowed' : `refused (${decision.reason})`;
    const by = decision.ruleId === null ? 'by no rule' : `by rule ${decision.ruleId}`;
    out.line(colors.red(`    ${files.file}:${line}: got ${got} ${by}, expected ${expected}${rule}`));
  }
  const failed = results.filter(({ passed }) => !passed).length;
  out.line(
    colors.dim(`${results.length - failed} of ${results.length} expectations hold for ${files.policyFile}`),
  );
}
