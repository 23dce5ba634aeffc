import type { CellResult } from './load/cell.ts';
import type { Memory } from './load/process-tree.ts';
import type { LoadDriver } from './load-driver.ts';
import type { RunningCandidate } from './running-candidate.ts';
import type { Scenario } from './scenarios.ts';
import { type Spread, spreadOf } from './statistics.ts';

/** What the rounds of one candidate in one scenario came to. */
export type Measured = {
  readonly cpuMicros: Spread;
  readonly callsPerSecond: Spread;
  readonly p50Ms: Spread;
  readonly p99Ms: Spread;
  /** Share of its core that the proxy used, and of the other that the load did. */
  readonly proxyLoad: number;
  readonly clientLoad: number;
  /** The most that it had. */
  readonly memory: Memory;
  /** Share of the machine that other processes had. */
  readonly foreignShare: Spread;
  readonly failures: Readonly<Record<string, number>>;
};

/** Results by scenario id and candidate name. */
export type Table = Map<string, Map<string, Measured>>;

export type Pace = { readonly rounds: number; readonly seconds: number };

/** The JIT of a candidate in JavaScript has to have seen a scenario, and no peer may lack the same chance. */
const WARM_CALLS_FIRST = 50_000;
const WARM_MS = 400;
/** A cell during which others had more of the machine than this is measured again, and the quietest one counts. */
const FOREIGN_SHARE_MAX = 0.08;
const TRIES_MAX = 2;

/** Scenario by scenario and round by round, candidates in turns: a slow moment of the machine falls on all of them. */
export async function measureTable(
  load: LoadDriver,
  candidates: readonly RunningCandidate[],
  scenarios: readonly Scenario[],
  pace: Pace,
): Promise<Table> {
  const table: Table = new Map();
  for (const scenario of scenarios) {
    const cells = new Map<string, CellResult[]>();
    for (let round = 0; round < pace.rounds; round++) {
      for (const candidate of candidates) {
        if (scenario.without?.includes(candidate.name)) continue;
        const result = await measureCell(load, candidate, scenario, { round, seconds: pace.seconds });
        cells.set(candidate.name, [...(cells.get(candidate.name) ?? []), result]);
      }
    }
    const measured = [...cells].map(([name, results]) => [name, summarise(results, scenario)] as const);
    table.set(scenario.id, new Map(measured));
    for (const [name, each] of measured)
      process.stderr.write(`  ${scenario.id.padEnd(13)} ${name.padEnd(22)} ${line(each)}\n`);
  }
  return table;
}

function line({ cpuMicros, callsPerSecond, failures, foreignShare }: Measured): string {
  const { median, low, high } = cpuMicros;
  const failed = Object.keys(failures).length > 0 ? ` FAILURES ${JSON.stringify(failures)}` : '';
  return `${median.toFixed(1)} µs (${low.toFixed(1)}–${high.toFixed(1)}), ${Math.round(callsPerSecond.median)}/s, others ${Math.round(foreignShare.median * 100)} %${failed}`;
}

async function measureCell(
  load: LoadDriver,
  candidate: RunningCandidate,
  scenario: Scenario,
  { round, seconds }: { readonly round: number; readonly seconds: number },
): Promise<CellResult> {
  const { connections, loop, answer, path, payloadBytes } = scenario.load;
  const { port, pid } = candidate;
  const call = { path, payloadBytes, token: scenario.tokens?.[candidate.name] };
  let quietest: CellResult | undefined;
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const warmCalls = round === 0 && tries === 0 ? WARM_CALLS_FIRST : 0;
    const times = { warmMs: WARM_MS, warmCalls, measureMs: seconds * 1000 };
    const result = await load.cell({ port, pid, connections, loop, answer, call, ...times });
    if (quietest === undefined || result.foreignShare < quietest.foreignShare) quietest = result;
    if (result.foreignShare <= FOREIGN_SHARE_MAX) break;
  }
  return quietest as CellResult;
}

function summarise(results: readonly CellResult[], scenario: Scenario): Measured {
  const units = scenario.per === 'call' ? 1 : scenario.load.answer.messages;
  const spread = (of: (result: CellResult) => number): Spread => spreadOf(results.map(of));
  const failures: Record<string, number> = {};
  for (const result of results)
    for (const [kind, count] of Object.entries(result.failures))
      failures[kind] = (failures[kind] ?? 0) + count;
  return {
    cpuMicros: spread((r) => r.cpuMicros / r.calls / units),
    callsPerSecond: spread((r) => r.calls / r.seconds),
    p50Ms: spread((r) => r.p50Ms),
    p99Ms: spread((r) => r.p99Ms),
    proxyLoad: spread((r) => r.cpuMicros / r.seconds / 1e6).median,
    clientLoad: spread((r) => r.loadCpuMicros / r.seconds / 1e6).median,
    memory: results.map((r) => r.memory).toSorted((a, b) => b.residentMb - a.residentMb)[0] as Memory,
    foreignShare: spread((r) => r.foreignShare),
    failures,
  };
}
