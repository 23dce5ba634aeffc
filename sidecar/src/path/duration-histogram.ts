/** Upper bounds in seconds: those that the semantic conventions advise for RPC durations. */
export const DURATION_BUCKETS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

/** A call whose trace shows what a bucket is about. */
export type Exemplar = { readonly traceId: string; readonly seconds: number; readonly atMs: number };

/** @returns which bucket a duration falls into */
export function bucketOf(seconds: number): number {
  let bucket = 0;
  while (bucket < DURATION_BUCKETS.length && seconds > (DURATION_BUCKETS[bucket] as number)) bucket++;
  return bucket;
}

/** Durations in buckets, and of each bucket the last call that has a trace. */
export class DurationHistogram {
  readonly counts = new Float64Array(DURATION_BUCKETS.length + 1);
  sumSeconds = 0;
  total = 0;
  #exemplars: (Exemplar | undefined)[] | null = null;

  /** @param bucket `bucketOf(seconds)`; a call counts in several histograms */
  observe(seconds: number, bucket: number): void {
    this.counts[bucket] = (this.counts[bucket] as number) + 1;
    this.sumSeconds += seconds;
    this.total += 1;
  }

  keepExemplar(bucket: number, exemplar: Exemplar): void {
    this.#exemplars ??= Array.from({ length: DURATION_BUCKETS.length + 1 });
    this.#exemplars[bucket] = exemplar;
  }

  exemplar(bucket: number): Exemplar | undefined {
    return this.#exemplars?.[bucket];
  }
}
