import { readFileSync } from 'node:fs';
import { formatProblem } from '@gatehouse/documents';
import type { Policy } from '@gatehouse/sidecar';
import { CommandError } from './command-error.ts';
import { readInputFile } from './read-input-file.ts';

/** A policy document's files, the document first. */
export type PolicyFiles = readonly { readonly file: string; readonly text: string }[];

/**
 * Compiles a policy document with all that it includes, against the contract of Gatehouse's own services.
 * @throws CommandError with every problem of the document
 */
export async function loadPolicyFiles(
  policyFile: string,
): Promise<{ readonly policy: Policy; readonly files: PolicyFiles }> {
  const { compilePolicy, loadContractFiles } = await import('@gatehouse/sidecar');
  const loaded = await loadContractFiles({ overlayFiles: [] });
  if ('problems' in loaded) throw new CommandError(loaded.problems.join('\n'));
  const compiled = compilePolicy(await readInputFile(policyFile), {
    contract: loaded.contract,
    fileName: policyFile,
    readFile: (file) => readFileSync(file, 'utf8'),
  });
  if ('problems' in compiled) throw new CommandError(compiled.problems.map(formatProblem).join('\n'));
  return compiled;
}

/** @throws CommandError with every problem of the document */
export async function loadPolicy(policyFile: string): Promise<Policy> {
  return (await loadPolicyFiles(policyFile)).policy;
}
