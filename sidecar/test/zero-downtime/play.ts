import { setTimeout as delay } from 'node:timers/promises';
import { startCluster } from './cluster.ts';
import { type CallResult, ConstantLoad, type LoadRates } from './constant-load.ts';
import type { Scenario, Stage } from './scenarios.ts';

/** How a scenario went. */
export type Report = {
  readonly name: string;
  readonly planned: boolean;
  readonly calls: number;
  /** Failures that the scenario does not excuse. */
  readonly lost: readonly string[];
  /** Failures of calls in flight on what broke. */
  readonly excused: readonly string[];
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly tookMs: number;
  readonly note: string;
};

const PODS = 2;
const WARM_MS = 1_000;

/** Plays the scenarios one after the other on one cluster, under constant load. */
export async function play(
  scenarios: readonly Scenario[],
  { rates, holdMs, onReport }: { rates: LoadRates; holdMs: number; onReport: (report: Report) => void },
): Promise<readonly Report[]> {
  const cluster = await startCluster();
  try {
    await cluster.writePolicy('v1', false);
    for (let pods = 0; pods < PODS; pods++) await cluster.startPod();
    const caller = await cluster.startCaller();
    const stage: Stage = { cluster, load: new ConstantLoad(caller.client, rates), caller, holdMs };
    try {
      await delay(WARM_MS);
      const reports: Report[] = [];
      for (const scenario of scenarios) {
        const report = await playOne(scenario, stage);
        reports.push(report);
        onReport(report);
      }
      return reports;
    } finally {
      await stage.load.stop();
      stage.caller.client.close();
    }
  } finally {
    await cluster.stop();
  }
}

async function playOne(scenario: Scenario, stage: Stage): Promise<Report> {
  const { load } = stage;
  load.results.length = 0;
  const startedAtMs = performance.now();
  const { note = '', recoveredAtMs = startedAtMs } = await scenario.run(stage);
  await delay(stage.holdMs);
  // What began within the scenario belongs to it.
  await load.quiet();
  const results = load.results.slice();
  const isExcused = (result: CallResult): boolean =>
    !scenario.planned &&
    result.startedAtMs < recoveredAtMs &&
    (scenario.excuses?.(result, startedAtMs) ?? false);
  const failed = results.filter(({ failure }) => failure !== '');
  const told = ({ kind, startedAtMs: at, failure, hadHead }: CallResult): string =>
    `${kind} begun after ${Math.round(at - startedAtMs)} ms${hadHead ? ', its response begun' : ''}: ${failure}`;
  const took = results
    .filter(({ kind, failure }) => kind !== 'serverStream' && failure === '')
    .map(({ startedAtMs: from, endedAtMs }) => endedAtMs - from)
    .toSorted((one, other) => one - other);
  const at = (share: number): number => took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? 0;
  return {
    name: scenario.name,
    planned: scenario.planned,
    calls: results.length,
    lost: failed.filter((each) => !isExcused(each)).map(told),
    excused: failed.filter(isExcused).map(told),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    tookMs: performance.now() - startedAtMs,
    note,
  };
}
