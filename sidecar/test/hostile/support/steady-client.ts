import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { type EchoClientType, run } from '../../support/calls.ts';

const TIMEOUT_MS = 10_000;

export type SteadyReport = {
  readonly calls: number;
  readonly failures: readonly string[];
  readonly p50Ms: number;
  readonly p99Ms: number;
};

export type SteadyClient = {
  /** Forgets what was measured so far. */
  reset(): void;
  report(): SteadyReport;
  /** Resolves when the last call has ended. */
  stop(): Promise<SteadyReport>;
};

/** Calls every few milliseconds, whether or not the calls before have been answered. */
export function startSteadyClient(client: EchoClientType, intervalMs: number): SteadyClient {
  let durations: number[] = [];
  let failures: string[] = [];
  let running = true;
  const open = new Set<Promise<void>>();
  const callOnce = async (): Promise<void> => {
    const startedAtMs = performance.now();
    const ended = await run(client, 'unary', [{ text: 'good' }], { timeoutMs: TIMEOUT_MS });
    durations.push(performance.now() - startedAtMs);
    if (ended.code !== status.OK) failures.push(`${status[ended.code]} ${ended.message}`);
  };
  const loop = (async () => {
    while (running) {
      const call = callOnce();
      open.add(call);
      void call.finally(() => open.delete(call));
      await delay(intervalMs);
    }
  })();
  const report = (): SteadyReport => {
    const sorted = [...durations].sort((a, b) => a - b);
    const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN;
    return { calls: durations.length, failures, p50Ms: at(0.5), p99Ms: at(0.99) };
  };
  return {
    reset: () => {
      durations = [];
      failures = [];
    },
    report,
    stop: async () => {
      running = false;
      await loop;
      await Promise.all(open);
      return report();
    },
  };
}
