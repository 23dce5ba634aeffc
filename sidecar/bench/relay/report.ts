import { cpus, release } from 'node:os';
import { barChart, format, type Group } from './chart.ts';
import { RULE_COUNTS } from './extras.ts';
import { cell, table } from './markdown-table.ts';
import type { Table } from './measure.ts';
import { byStage } from './path-stages.ts';
import { growth, memory, nodeFlags, places, rates, secondCore, stages } from './report-sidecar.ts';
import type { Results } from './results.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import { spreadOf } from './statistics.ts';
import { judge, OURS } from './targets.ts';

export function markdown(results: Results): string {
  return `${head(results)}\n${sections(results)}`;
}

/** What was measured, without saying how. */
export function sections(results: Results): string {
  return [
    verdicts(results),
    costs(results),
    latencies(results),
    rates(results),
    secondCore(results),
    memory(results),
    growth(results),
    stages(results),
    places(results),
    nodeFlags(results),
  ]
    .filter((section) => section !== '')
    .join('\n');
}

export function chart({ table }: Results): string {
  const groups: Group[] = SCENARIOS.flatMap(({ id, title }) => {
    const row = table.get(id);
    if (row === undefined) return [];
    return [
      {
        title: title.replace(/, open loop.*/, ', open loop'),
        bars: [...row].map(([name, { cpuMicros }]) => ({ name, value: cpuMicros.median })),
      },
    ];
  });
  return barChart(
    'What a relayed call costs the proxy',
    'CPU time of its processes, µs for each call (paced stream: each message); logarithmic',
    groups,
  );
}

function head({ command, versions, absent, pace, ceiling, table: measured }: Results): string {
  const peers = [...versions].map(([name, version]) => `${name} ${version}`).join(', ');
  const missing = absent.length > 0 ? ` Not installed, so left out: ${absent.join(', ')}.` : '';
  const top = ceiling
    ? `Alone — client, TLS at both ends and app in one process on one core, with no proxy between — it makes ${Math.round(ceiling.callsPerSecond.median)} calls a second at 4 × 8 (${format(ceiling.cpuMicros.median)} µs for each).`
    : '';
  return `# What relaying costs

Written by \`${command}\`, which starts everything that it names; nothing here was typed by hand.

![CPU for each call](RESULTS.svg)

- **Measured**: CPU time (user and system, all threads and processes of the proxy, exact to the nanosecond from \`/proc/PID/task/*/schedstat\`) divided by calls answered. Wall time on a shared machine says little, CPU time little less than the truth. Medians of ${pace.rounds} rounds of ${pace.seconds} s in which the candidates take turns; lowest and highest in brackets.
${quiet(measured)}
- **Candidates**: ${peers}.${missing}
- **Machine**: ${cpus().length} cores of ${cpus()[0]?.model ?? 'unknown model'}, Linux ${release()}. The proxy has one core to itself, client and app share the other; all of it on loopback.
- **The same for all**: TLS 1.3 with a client certificate (ECDSA P-256) inbound, plaintext HTTP/2 over TCP to the app (nginx opens a connection for each call in flight, the others share a few), one worker, no access log. 100-byte messages; five request fields beside the pseudo-headers, indexed as a gRPC library does.
- **Not the same**: Gatehouse alone does its whole path for every call — identity, policy document, admission, deadline, message framing, decision list, metrics, traces at 1 % exported over OTLP. Envoy checks the SPIFFE ID (RBAC filter) and forwards it. nginx, haproxy and nghttpx let any certificate of the CA call, grpc-js proxies and checks nothing: what they do less counts in their favour.
- **Load**: one Node process with prebuilt frames, client and app in one event loop, the same code and the same frames for every candidate. ${top} Every answer's size is checked, so a refusal counts as a failure. Closed loop: the next call begins when one ends. Open loop: Poisson arrivals by a fixed seed, sent when they are due (the loop spins), latency counted from the due time.
`;
}

function quiet(measured: Table): string {
  const shares = [...measured.values()].flatMap((row) =>
    [...row.values()].map(({ foreignShare }) => foreignShare),
  );
  const percent = (value: number): string => `${Math.round(value * 100)} %`;
  const median = spreadOf(shares.map((each) => each.median)).median;
  const worst = Math.max(...shares.map(({ high }) => high));
  return `- **How quiet the machine was**: other processes had ${percent(median)} of it in the median cell and ${percent(worst)} in the worst (a cell with more than 8 % is measured once more, and the quieter one counts). What they do to the caches raises every figure.`;
}

function verdicts(results: Results): string {
  const { table: measured, idle, policies } = results;
  const plain = policies.get(`rules-${RULE_COUNTS[0]}`)?.cpuMicros.median;
  const token = policies.get('token-and-condition')?.cpuMicros.median;
  const judged = judge(
    measured,
    {
      idleMb: idle.get(OURS)?.residentMb,
      loadedMb: measured.get('unary-200x1')?.get(OURS)?.memory.residentMb,
    },
    plain && token ? { plainMicros: plain, tokenMicros: token } : null,
  );
  if (judged.length === 0) return '';
  const rows = judged.map(({ scenario, target, measured: found, met, over }) => [
    scenario,
    target,
    found,
    met ? 'met' : `**missed** by ${over}`,
  ]);
  const count = judged.filter(({ met }) => met).length;
  const missed = new Set(judged.filter(({ met }) => !met).flatMap(({ scenarioId = [] }) => scenarioId));
  const blamed = SCENARIOS.filter(({ id }) => missed.has(id)).flatMap((scenario) => blame(results, scenario));
  return `## Targets: ${count} of ${judged.length} met

${table(['scenario', 'target', 'measured', ''], rows)}
${blamed.length === 0 ? '' : `\nWhat the profile blames where one is missed, largest first (all of it under "What each stage costs"):\n\n${blamed.join('\n')}\n`}`;
}

const BLAMED_MAX = 5;

/** A line on where the time of a scenario goes; none where there is no profile of it. */
function blame({ table: measured, profiles }: Results, { id, title }: Scenario): string[] {
  const profile = profiles.get(id);
  const cpu = measured.get(id)?.get(OURS)?.cpuMicros.median;
  if (profile === undefined || cpu === undefined) return [];
  const parts = byStage(profile.byPlace).toSorted((a, b) => b.share - a.share);
  const said = parts.slice(0, BLAMED_MAX).map(({ name, share }) => `${name} ${format(share * cpu)} µs`);
  return [`- **${title}** (${format(cpu)} µs): ${said.join('; ')}.`];
}

function costs({ table: measured, versions }: Results): string {
  if (measured.size === 0) return '';
  const names = [...versions.keys()];
  const scenarios = SCENARIOS.filter(({ id }) => measured.has(id));
  const rows = scenarios.map(({ id, title }) => {
    const row = measured.get(id);
    return [title, ...names.map((name) => cell(row?.get(name)))];
  });
  const ours = scenarios.map(({ id, title }) => {
    const row = measured.get(id);
    const own = row?.get(OURS)?.cpuMicros.median;
    return [
      title,
      ...names.filter((name) => name !== OURS).map((name) => ratio(own, row?.get(name)?.cpuMicros.median)),
    ];
  });
  return `## CPU, µs for each call

${table(['scenario', ...names], rows)}

Gatehouse's median as a multiple of each peer's:

${table(['scenario', ...names.filter((name) => name !== OURS)], ours)}
`;
}

function ratio(own: number | undefined, peer: number | undefined): string {
  return own === undefined || peer === undefined ? '–' : (own / peer).toFixed(2);
}

function latencies({ table: measured, versions }: Results): string {
  const open = SCENARIOS.filter(({ id, latencyAgainst }) => latencyAgainst !== undefined && measured.has(id));
  if (open.length === 0) return '';
  const rows = open.flatMap(({ id, title }) =>
    (['p50Ms', 'p99Ms'] as const).map((key) => [
      `${title}, ${key.slice(0, 3)}`,
      ...[...versions.keys()].map((name) => {
        const found = measured.get(id)?.get(name)?.[key];
        return found ? `${found.median.toFixed(3)} (${found.low.toFixed(3)}–${found.high.toFixed(3)})` : '–';
      }),
    ]),
  );
  return `## Latency in the open loop, ms

${table(['scenario', ...versions.keys()], rows)}
`;
}
