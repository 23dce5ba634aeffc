import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { type EchoClientType, type Ended, run } from './calls.ts';

/** Numbered as in gatehouse.inference.v1.Priority. */
export const PRIORITY_NUMBERS = { low: 1, normal: 2, high: 3 } as const;
export type PriorityName = keyof typeof PRIORITY_NUMBERS;

/** An overlay with which `count`, which unary calls have no use for, is a call's priority. */
export const PRIORITY_OVERLAY =
  'fields: { testing.echo.v1.EchoRequest.count: { role: PRIORITY, sensitivity: METADATA } }';

export type Offered = {
  offered: number;
  /** Milliseconds, of calls that were answered before their deadline. */
  readonly tookMs: number[];
  readonly refusals: Ended[];
};

/** Every tenth call is of high priority, four are of low. */
const PRIORITY_OF_TENTH: readonly PriorityName[] = [
  'high',
  ...Array.from({ length: 4 }, () => 'low' as const),
  ...Array.from({ length: 5 }, () => 'normal' as const),
];
const STEP_MS = 10;

/** Calls at a rate, whatever becomes of them, until the time is over. Calls that come in `warmUpMs` are not counted. */
export async function offer(
  client: EchoClientType,
  load: {
    readonly perSecond: number;
    readonly forMs: number;
    readonly warmUpMs: number;
    readonly timeoutMs: number;
  },
): Promise<Readonly<Record<PriorityName, Offered>>> {
  const tallies = { low: empty(), normal: empty(), high: empty() };
  const begunAtMs = performance.now();
  const calls: Promise<void>[] = [];
  const call = async (priority: PriorityName): Promise<void> => {
    const atMs = performance.now();
    const tally = atMs - begunAtMs < load.warmUpMs ? empty() : tallies[priority];
    tally.offered += 1;
    const ended = await run(client, 'unary', [{ count: PRIORITY_NUMBERS[priority] }], {
      timeoutMs: load.timeoutMs,
    });
    if (ended.code === status.OK) tally.tookMs.push(performance.now() - atMs);
    else if (ended.code === status.RESOURCE_EXHAUSTED) tally.refusals.push(ended);
  };
  let passedMs = 0;
  for (let made = 0; passedMs < load.forMs; passedMs = performance.now() - begunAtMs) {
    for (const due = (passedMs / 1000) * load.perSecond; made < due; made++)
      calls.push(call(PRIORITY_OF_TENTH[made % 10] as PriorityName));
    await delay(STEP_MS);
  }
  await Promise.all(calls);
  return tallies;
}

function empty(): Offered {
  return { offered: 0, tookMs: [], refusals: [] };
}
