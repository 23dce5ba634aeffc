import { readFile } from 'node:fs/promises';
import { openPseudonyms, PSEUDONYM_KEY_BYTES_MIN, type Pseudonyms } from '../protect/index.ts';

/**
 * Reads the keys that pseudonyms are made with: each file holds one in base64, 32 bytes or more. Problems name file and
 * expected form, never content.
 */
export async function loadProtectionKeys(
  keys: readonly { readonly name: string; readonly file: string }[],
): Promise<{ readonly keys: ReadonlyMap<string, Pseudonyms> } | { readonly problems: readonly string[] }> {
  const problems: string[] = [];
  const loaded = new Map<string, Pseudonyms>();
  for (const { name, file } of keys) {
    const secret = await readSecret(file);
    if (typeof secret === 'string') problems.push(`${file}: key ${name}: ${secret}`);
    else loaded.set(name, await openPseudonyms(secret));
  }
  return problems.length > 0 ? { problems } : { keys: loaded };
}

async function readSecret(file: string): Promise<Buffer | string> {
  let text: string;
  try {
    text = (await readFile(file, 'utf8')).trim();
  } catch (error) {
    return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
  const secret = Buffer.from(text, 'base64');
  if (secret.toString('base64').replace(/=+$/, '') !== text.replace(/=+$/, ''))
    return 'expected base64, as `openssl rand -base64 32` writes it';
  return secret.length < PSEUDONYM_KEY_BYTES_MIN
    ? `has ${secret.length} bytes; expected at least ${PSEUDONYM_KEY_BYTES_MIN}`
    : secret;
}
