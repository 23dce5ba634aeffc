import { writeFile } from 'node:fs/promises';
import type { CommandContext } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';
import { loadPolicyFiles } from './load-policy.ts';
import { readInputFile } from './read-input-file.ts';

export type PolicySignOptions = {
  /** A private key as JWK (RFC 7517). */
  readonly key: string;
};

/**
 * `gatehouse policy sign`: writes a detached signature beside a policy document, over it and all that it includes. A
 * document with problems is not signed.
 */
export async function policySignCommand(
  context: CommandContext,
  policyFile: string,
  options: PolicySignOptions,
): Promise<number> {
  const { SIGNATURE_SUFFIX, signPolicy } = await import('@gatehouse/sidecar');
  const { policy, files } = await loadPolicyFiles(policyFile);
  const key = parseKey(await readInputFile(options.key), options.key);
  let signature: string;
  try {
    signature = await signPolicy(files, key);
  } catch {
    // The library's own words may hold parts of the key.
    throw new CommandError(
      `${options.key}: expected a private key for ES256, ES384, ES512, EdDSA, PS256 or RS256`,
    );
  }
  const file = `${policyFile}${SIGNATURE_SUFFIX}`;
  await writeFile(file, `${signature}\n`);
  const covered = files.length === 1 ? '' : `, and what it includes: ${files.length - 1}`;
  context.out.line(`${file} signs ${policy.version}: ${policyFile}${covered}`);
  return EXIT.ok;
}

function parseKey(text: string, file: string): Record<string, string> {
  try {
    const key: unknown = JSON.parse(text);
    if (typeof key === 'object' && key !== null && 'd' in key) return key as Record<string, string>;
  } catch {
    // Said below.
  }
  throw new CommandError(`${file}: expected a private key as JWK, a JSON object with "kty" and "d"`);
}
