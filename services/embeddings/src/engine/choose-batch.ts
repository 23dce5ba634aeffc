/**
 * Which of the waiting texts to compute together: the first, then those nearest to it in length while the batch,
 * padded to its longest text, stays within `tokensMax`. Texts of like length leave little padding to compute.
 */
export function chooseBatch<T extends object>(
  waiting: readonly T[],
  tokensOf: (item: T) => number,
  tokensMax: number,
): Set<T> {
  const [first, ...others] = waiting;
  if (first === undefined) return new Set();
  let width = tokensOf(first);
  const distance = (item: T) => Math.abs(tokensOf(item) - tokensOf(first));
  const chosen = new Set([first]);
  for (const item of others.sort((a, b) => distance(a) - distance(b))) {
    const widened = Math.max(width, tokensOf(item));
    if (widened * (chosen.size + 1) > tokensMax) break;
    chosen.add(item);
    width = widened;
  }
  return chosen;
}
