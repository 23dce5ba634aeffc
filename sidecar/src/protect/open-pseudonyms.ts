import type { Pseudonyms } from './pseudonyms.ts';

export const PSEUDONYM_KEY_BYTES_MIN = 32;

/**
 * Loads the cipher, whose tables take the compiler at work and 2 MB, and makes the pseudonyms of one key.
 * @throws RangeError when the key is shorter than PSEUDONYM_KEY_BYTES_MIN
 */
export async function openPseudonyms(secret: Uint8Array): Promise<Pseudonyms> {
  const { createPseudonyms } = await import('./pseudonyms.ts');
  return createPseudonyms(secret);
}
