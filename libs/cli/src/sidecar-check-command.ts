import { formatProblem } from '@gatehouse/documents';
import { makeIdentity } from '@gatehouse/identity';
import type { SidecarConfig } from '@gatehouse/sidecar';
import type { CommandContext } from './command-context.ts';
import { EXIT } from './command-error.ts';
import { readInputFile } from './read-input-file.ts';

/**
 * `gatehouse sidecar check`: whether a sidecar would start with this configuration: the file itself and every file that
 * it names.
 */
export async function sidecarCheckCommand(
  context: CommandContext,
  file: string,
  options: { readonly json?: boolean },
): Promise<number> {
  const { parseConfig } = await import('@gatehouse/sidecar');
  const parsed = parseConfig(await readInputFile(file), file);
  const problems =
    'problems' in parsed
      ? parsed.problems.map(formatProblem)
      : await namedFileProblems(parsed.config, context.clock());
  if (options.json) context.out.line(JSON.stringify({ file, valid: problems.length === 0, problems }));
  else if (problems.length === 0) context.out.line(`${file} is valid, and so are the files that it names.`);
  else for (const problem of problems) context.out.line(problem);
  return problems.length === 0 ? EXIT.ok : EXIT.no;
}

async function namedFileProblems(config: SidecarConfig, nowMs: number): Promise<string[]> {
  const { loadContractFiles, loadDocument, loadProtectionKeys } = await import('@gatehouse/sidecar');
  const problems = await identityProblems(config, nowMs);
  const keys = await loadProtectionKeys(config.protection.keys);
  if ('problems' in keys) problems.push(...keys.problems);
  const loaded = await loadContractFiles({
    descriptorSetFile: config.contract.descriptorSetFile,
    overlayFiles: config.contract.overlayFiles,
  });
  if ('problems' in loaded) return [...problems, ...loaded.problems];
  if (config.policyFile === undefined) return problems;
  const { policyFile, shadowPolicyFile, policySigners } = config;
  for (const [key, file] of Object.entries({ policyFile, shadowPolicyFile })) {
    if (file === undefined || (await tryRead(file, key, problems)) === undefined) continue;
    const { result } = await loadDocument(file, {
      contract: loaded.contract,
      signersFile: policySigners,
      protectionKeys: new Set(config.protection.keys.map(({ name }) => name)),
    });
    if ('problems' in result) problems.push(...result.problems);
  }
  return problems;
}

async function identityProblems({ identity }: SidecarConfig, nowMs: number): Promise<string[]> {
  const problems: string[] = [];
  // What an agent gives depends on who asks: only the sidecar's own process can find out.
  if (identity.workloadApi !== undefined) return problems;
  const certificatePem = await tryRead(identity.certificateFile, 'identity.certificateFile', problems);
  const keyPem = await tryRead(identity.keyFile, 'identity.keyFile', problems);
  const bundlePem = await tryRead(identity.bundleFile, 'identity.bundleFile', problems);
  if (certificatePem === undefined || keyPem === undefined || bundlePem === undefined) return problems;
  const { trustDomain } = identity;
  const made = makeIdentity({ certificatePem, keyPem, bundlePem }, { trustDomain, nowMs, generation: 1 });
  if ('problem' in made) problems.push(`identity: ${made.problem.code}: ${made.problem.detail}`);
  return problems;
}

async function tryRead(
  file: string | undefined,
  key: string,
  problems: string[],
): Promise<string | undefined> {
  try {
    return file === undefined ? undefined : await readInputFile(file);
  } catch (error) {
    problems.push(`${key}: ${(error as Error).message}`);
    return undefined;
  }
}
