/** What to do with a text that is longer than the model takes. */
export type TruncationPolicy = 'fail' | 'end' | 'start';

export type Fitted =
  | { readonly fits: true; readonly ids: Int32Array; readonly truncated: boolean }
  | { readonly fits: false; readonly tokens: number };

/**
 * Cuts a text's tokens to at most `tokensMax`, at the side that the policy names. The special tokens at both ends
 * stay: without them the model would see another kind of text.
 */
export function fitTokens(ids: Int32Array, tokensMax: number, policy: TruncationPolicy): Fitted {
  if (ids.length <= tokensMax) return { fits: true, ids, truncated: false };
  if (policy === 'fail') return { fits: false, tokens: ids.length };
  const cut = new Int32Array(tokensMax);
  const from = policy === 'end' ? 1 : ids.length - 1 - (tokensMax - 2);
  cut.set(ids.subarray(from, from + tokensMax - 2), 1);
  cut[0] = ids[0]!;
  cut[tokensMax - 1] = ids[ids.length - 1]!;
  return { fits: true, ids: cut, truncated: true };
}
