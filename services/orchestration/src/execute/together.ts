import { besideFailed } from './failures.ts';

/**
 * Starts all tasks at once. When one fails the others are cancelled, and once all have ended its error is thrown:
 * nothing goes on in the background.
 */
export async function together<T>(
  parent: AbortSignal,
  tasks: readonly ((signal: AbortSignal) => Promise<T>)[],
): Promise<T[]> {
  const others = new AbortController();
  const signal = AbortSignal.any([parent, others.signal]);
  let first: { readonly error: unknown } | undefined;
  const results = await Promise.allSettled(
    tasks.map(async (task) => {
      try {
        return await task(signal);
      } catch (error) {
        first ??= { error };
        others.abort(besideFailed());
        throw error;
      }
    }),
  );
  if (first) throw first.error;
  return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
}
