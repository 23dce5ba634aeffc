import type { CompiledLimit } from '../../src/policy/limits.ts';
import type { Quotas } from '../../src/quota/index.ts';
import { subjectOf } from './quota-parts.ts';

/** What came to the callers, and when. */
export type Delivery = { readonly atMs: number; readonly tokens: number };

type Run = {
  /** Streams are spread over these. */
  readonly sidecars: readonly Quotas[];
  readonly limit: CompiledLimit;
  readonly random: () => number;
  readonly clock: () => number;
  /** Lets time pass. */
  readonly pause: () => Promise<void> | void;
  readonly streams: number;
  /** Streams that are begun in all; as many as `streams` at once. */
  readonly streamsTotal: number;
  /** All go on for long, and none says so: what they take is taken on the way. */
  readonly areLong?: boolean;
};

export type RunResult = {
  readonly deliveries: readonly Delivery[];
  readonly refused: number;
  readonly endedMidway: number;
  readonly finished: number;
};

/**
 * Streams of one tenant side by side, in an order and with sizes that the generator chooses: some say how much they will
 * take and some do not, some end early, and their messages bring one to nine tokens each.
 */
export async function runStreams(run: Run): Promise<RunResult> {
  const deliveries: Delivery[] = [];
  const counts = { refused: 0, endedMidway: 0, finished: 0 };
  let begun = 0;
  const pick = (max: number): number => Math.floor(run.random() * max);
  const stream = async (): Promise<void> => {
    while (begun < run.streamsTotal) {
      begun += 1;
      const quotas = run.sidecars[pick(run.sidecars.length)] as Quotas;
      const saysLength = run.areLong !== true && pick(4) === 0;
      const length = (run.areLong === true ? 300 : 1) + pick(saysLength ? 60 : 300);
      const input = pick(10);
      const subject = subjectOf([run.limit], {
        inputBound: input + pick(20),
        outputLimit: saysLength ? length : null,
      });
      const lease = await quotas.admit(subject);
      if ('kind' in lease) {
        counts.refused += 1;
        await run.pause();
        continue;
      }
      const leavesAfter = run.areLong !== true && pick(4) === 0 ? pick(length) : length;
      let delivered = 0;
      let output = 0;
      let isCut = false;
      let isFirst = true;
      while (output < leavesAfter && !isCut) {
        await run.pause();
        output = isFirst ? 0 : Math.min(length, output + 1 + pick(9));
        isFirst = false;
        isCut = lease.settle(input, output) !== null;
        if (isCut) break;
        deliveries.push({ atMs: run.clock(), tokens: input + output - delivered });
        delivered = input + output;
      }
      lease.release(delivered > 0);
      counts[isCut ? 'endedMidway' : 'finished'] += 1;
    }
  };
  await Promise.all(Array.from({ length: run.streams }, stream));
  return { deliveries, ...counts };
}

/** The most that was delivered in any window of as many milliseconds. */
export function mostWithin(deliveries: readonly Delivery[], windowMs: number): number {
  let most = 0;
  let sum = 0;
  let first = 0;
  for (const { atMs, tokens } of deliveries) {
    sum += tokens;
    while ((deliveries[first] as Delivery).atMs <= atMs - windowMs)
      sum -= (deliveries[first++] as Delivery).tokens;
    most = Math.max(most, sum);
  }
  return most;
}
