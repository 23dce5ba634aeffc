import type { Starts } from './detector.ts';

/** `characters` as inside the brackets of a regular expression. */
export function startsOf(
  characters: string,
  { atWordStart = false, beyondAscii = false }: { atWordStart?: boolean; beyondAscii?: boolean } = {},
): Starts {
  const pattern = new RegExp(`[${characters}]`);
  const ascii = Uint8Array.from({ length: 128 }, (_, code) =>
    Number(pattern.test(String.fromCharCode(code))),
  );
  return { ascii, beyondAscii, atWordStart };
}
