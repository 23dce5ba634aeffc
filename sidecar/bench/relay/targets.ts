import type { Measured, Table } from './measure.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';

export const OURS = 'Gatehouse';
const IDLE_MB_MAX = 105;
const LOADED_MB_MAX = 150;
const TOKEN_RATIO_MAX = 1.3;
/** Latencies of one run differ by about this much from those of the next. */
const LATENCY_TOLERANCE = 1.05;

export type Verdict = {
  readonly scenario: string;
  readonly target: string;
  readonly measured: string;
  readonly met: boolean;
  /** How much more than the target allows, such as `21 % (3.1 µs)`. */
  readonly over: string;
  /** Set where a profile of this scenario can say what the time goes to. */
  readonly scenarioId?: string;
};

/** @param unit what the values are in, such as ` µs` */
function excess(value: number, allowed: number, unit: string): string {
  const digits = unit === ' ms' ? 3 : 1;
  return `${Math.round((value / allowed - 1) * 100)} % (${(value - allowed).toFixed(digits)}${unit})`;
}

/** Every target that could be judged, with what was measured. */
export function judge(
  table: Table,
  memory: { readonly idleMb: number | undefined; readonly loadedMb: number | undefined },
  token: { readonly plainMicros: number; readonly tokenMicros: number } | null,
): Verdict[] {
  const verdicts = SCENARIOS.flatMap((scenario) => {
    const row = table.get(scenario.id);
    const ours = row?.get(OURS);
    return row === undefined || ours === undefined
      ? []
      : [...judgeCosts(scenario, row, ours), ...judgeLatencies(scenario, row, ours)];
  });
  if (token !== null) {
    const ratio = token.tokenMicros / token.plainMicros;
    verdicts.push({
      scenario: 'token required, verified before, and a CEL condition on top',
      target: `≤ ${TOKEN_RATIO_MAX} × without`,
      measured: `${ratio.toFixed(2)} ×`,
      met: ratio <= TOKEN_RATIO_MAX,
      over: excess(token.tokenMicros, TOKEN_RATIO_MAX * token.plainMicros, ' µs'),
    });
  }
  const megabytes = (what: string, value: number, max: number): Verdict => ({
    scenario: `memory, ${what}`,
    target: `≤ ${max} MB`,
    measured: `${value.toFixed(0)} MB`,
    met: value <= max,
    over: excess(value, max, ' MB'),
  });
  if (memory.idleMb !== undefined) verdicts.push(megabytes('idle', memory.idleMb, IDLE_MB_MAX));
  if (memory.loadedMb !== undefined)
    verdicts.push(megabytes('200 connections under load', memory.loadedMb, LOADED_MB_MAX));
  return verdicts;
}

function judgeCosts({ id, title, targets }: Scenario, row: Map<string, Measured>, ours: Measured): Verdict[] {
  return targets.flatMap(({ against, ratioMax }) => {
    const peer = bestOf(row, against, (each) => each.cpuMicros.median);
    if (peer === null) return [];
    const ratio = ours.cpuMicros.median / peer.value;
    const name = against.length > 1 ? `the best of ${against.join(', ')} (${peer.name})` : peer.name;
    return [
      {
        scenario: title,
        target: `CPU ≤ ${ratioMax} × ${name}`,
        measured: `${ratio.toFixed(2)} ×`,
        met: ratio <= ratioMax,
        over: excess(ours.cpuMicros.median, ratioMax * peer.value, ' µs'),
        scenarioId: id,
      },
    ];
  });
}

function judgeLatencies(
  { id, title, latencyAgainst }: Scenario,
  row: Map<string, Measured>,
  ours: Measured,
): Verdict[] {
  if (latencyAgainst === undefined) return [];
  return (['p50Ms', 'p99Ms'] as const).flatMap((key) => {
    const peer = bestOf(row, latencyAgainst, (each) => each[key].median);
    if (peer === null) return [];
    const own = ours[key].median;
    return [
      {
        scenario: title,
        target: `${key.slice(0, 3)} no worse than ${peer.name}'s ${peer.value.toFixed(3)} ms (5 % of noise allowed)`,
        measured: `${own.toFixed(3)} ms`,
        met: own <= peer.value * LATENCY_TOLERANCE,
        over: excess(own, peer.value * LATENCY_TOLERANCE, ' ms'),
        scenarioId: id,
      },
    ];
  });
}

function bestOf(
  row: Map<string, Measured>,
  names: readonly string[],
  of: (measured: Measured) => number,
): { name: string; value: number } | null {
  let best: { name: string; value: number } | null = null;
  for (const name of names) {
    const measured = row.get(name);
    if (measured !== undefined && (best === null || of(measured) < best.value))
      best = { name, value: of(measured) };
  }
  return best;
}
