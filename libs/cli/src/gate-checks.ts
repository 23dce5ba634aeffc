import type { ReplayReport } from '@gatehouse/sidecar';
import type { Bounds, Measures, PolicyGate, SloGate } from './gate-document.ts';

/** One thing that the gate looks at. */
export type GateCheck = {
  readonly name: string;
  /** As they are shown. */
  readonly baseline: string;
  readonly canary: string;
  readonly allowed: string;
  readonly passes: boolean;
};

/** What a version that can't be measured has: every check of it stops. */
export const UNMEASURED: Measures = {
  calls: null,
  errorRatio: null,
  refusalRatio: null,
  latencyP99Ms: null,
  firstTokenP99Ms: null,
};

type Measure = Exclude<keyof Measures, 'calls'>;

const NAMES: Readonly<Record<Measure, string>> = {
  errorRatio: 'errors',
  refusalRatio: 'refusals',
  latencyP99Ms: 'latency, p99',
  firstTokenP99Ms: 'first token, p99',
};
const NOTHING = 'no data';

/** What is missing never passes: a canary that answers nobody has no errors either. */
export function sloChecks(gate: SloGate, baseline: Measures, canary: Measures): GateCheck[] {
  const calls: GateCheck = {
    name: 'calls',
    baseline: shown(baseline.calls, String),
    canary: shown(canary.calls, String),
    allowed: `at least ${gate.callsMin} of each`,
    passes: [baseline.calls, canary.calls].every((count) => count !== null && count >= gate.callsMin),
  };
  const measures = (Object.keys(NAMES) as Measure[]).flatMap((measure) => {
    const bounds: Bounds | undefined = gate[measure];
    return bounds === undefined ? [] : [compare(measure, bounds, { baseline, canary })];
  });
  return [calls, ...measures];
}

function compare(
  measure: Measure,
  { max, aboveBaselineMax, timesBaselineMax }: Bounds,
  versions: { readonly baseline: Measures; readonly canary: Measures },
): GateCheck {
  const baseline = versions.baseline[measure];
  const canary = versions.canary[measure];
  const format = measure.endsWith('Ms') ? milliseconds : percent;
  const needsBaseline = aboveBaselineMax !== undefined || timesBaselineMax !== undefined;
  const limits: number[] = max === undefined ? [] : [max];
  if (baseline !== null && aboveBaselineMax !== undefined) limits.push(baseline + aboveBaselineMax);
  if (baseline !== null && timesBaselineMax !== undefined) limits.push(baseline * timesBaselineMax);
  const limit = Math.min(...limits);
  const isMeasured = canary !== null && (baseline !== null || !needsBaseline);
  return {
    name: NAMES[measure],
    baseline: shown(baseline, format),
    canary: shown(canary, format),
    allowed: limits.length === 0 ? 'what the baseline allows' : `at most ${format(limit)}`,
    passes: isMeasured && canary <= limit,
  };
}

export function policyChecks(gate: PolicyGate, report: ReplayReport): GateCheck[] {
  const { replayed, differences, leftOut } = report;
  const callsThat = (...changes: readonly string[]): number =>
    differences.filter(({ change }) => changes.includes(change)).reduce((sum, { count }) => sum + count, 0);
  const decisions = {
    name: 'decisions replayed',
    baseline: '–',
    canary: String(replayed),
    allowed: `at least ${gate.decisionsMin}`,
    passes: replayed >= gate.decisionsMin,
  };
  const atMost = (name: string, count: number, max: number): GateCheck => ({
    name,
    baseline: '–',
    // What there were too many kinds of to count may be either.
    canary: String(count + leftOut),
    allowed: `at most ${max}`,
    passes: count + leftOut <= max,
  });
  return [
    decisions,
    atMost('calls refused from now on', callsThat('loses', 'may-lose'), gate.losesMax),
    atMost('calls allowed from now on', callsThat('gains', 'may-gain'), gate.gainsMax),
  ];
}

function shown(value: number | null, format: (value: number) => string): string {
  return value === null ? NOTHING : format(value);
}

function percent(value: number): string {
  return `${(value * 100).toFixed(2)} %`;
}

function milliseconds(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 0)} ms`;
}
