import { cpus, release } from 'node:os';
import { barChart, format, type Group } from './chart.ts';
import type { ProfileSummary } from './cpu-profile.ts';
import { CONNECTION_COUNTS, type NodeVariantResult, RULE_COUNTS } from './extras.ts';
import type { HandshakeResult } from './load/cell.ts';
import type { Measured, Table } from './measure.ts';
import { SCENARIOS } from './scenarios.ts';
import { type Spread, spreadOf } from './statistics.ts';
import { judge, OURS } from './targets.ts';

/** Everything that a full run has measured. */
export type Results = {
  readonly command: string;
  readonly versions: ReadonlyMap<string, string>;
  readonly idleMb: ReadonlyMap<string, number>;
  readonly absent: readonly string[];
  readonly table: Table;
  readonly ceiling: Measured | undefined;
  readonly policies: ReadonlyMap<string, Measured>;
  readonly connections: Table;
  readonly handshakes: ReadonlyMap<
    string,
    { readonly full: HandshakeResult; readonly resumed: HandshakeResult }
  >;
  readonly profiles: ReadonlyMap<string, ProfileSummary>;
  readonly nodeVariants: readonly NodeVariantResult[];
  /** By scenario and by how many processes. */
  readonly cores: Table;
  readonly imports: readonly (readonly [name: string, megabytes: number])[];
  readonly pace: { readonly rounds: number; readonly seconds: number };
};

const SHARE_SHOWN_MIN = 0.012;
const POLICY_TITLES: Readonly<Record<string, string>> = {
  token: '1, and an end-user token required (verified before)',
  'token-and-condition': '1, a token required, and a CEL condition on its claims and the identity',
};

export function markdown(results: Results): string {
  return [
    head(results),
    verdicts(results),
    costs(results),
    latencies(results),
    rates(results),
    secondCore(results),
    memory(results),
    growth(results),
    stages(results),
    nodeFlags(results),
  ].join('\n');
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

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}

function spread({ median, low, high }: Spread): string {
  return `${format(median)} (${format(low)}–${format(high)})`;
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

function verdicts({ table: measured, idleMb, policies }: Results): string {
  const loaded = measured.get('unary-200x1')?.get(OURS)?.residentMb ?? Number.NaN;
  const plain = policies.get(`rules-${RULE_COUNTS[0]}`)?.cpuMicros.median;
  const token = policies.get('token-and-condition')?.cpuMicros.median;
  const judged = judge(
    measured,
    { idleMb: idleMb.get(OURS) ?? Number.NaN, loadedMb: loaded },
    plain && token ? { plainMicros: plain, tokenMicros: token } : null,
  );
  const rows = judged.map(({ scenario, target, measured: found, met }) => [
    scenario,
    target,
    found,
    met ? 'met' : '**missed**',
  ]);
  const count = judged.filter(({ met }) => met).length;
  return `## Targets: ${count} of ${judged.length} met

${table(['scenario', 'target', 'measured', ''], rows)}
`;
}

function costs({ table: measured, versions }: Results): string {
  const names = [...versions.keys()];
  const rows = SCENARIOS.map(({ id, title }) => {
    const row = measured.get(id);
    return [title, ...names.map((name) => cell(row?.get(name)))];
  });
  const ours = SCENARIOS.map(({ id, title }) => {
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

function cell(measured: Measured | undefined): string {
  if (measured === undefined) return '–';
  const failures = Object.entries(measured.failures).map(([kind, count]) => `${count} × ${kind}`);
  return `${spread(measured.cpuMicros)}${failures.length > 0 ? ` ⚠ ${failures.join(', ')}` : ''}`;
}

function ratio(own: number | undefined, peer: number | undefined): string {
  return own === undefined || peer === undefined ? '–' : (own / peer).toFixed(2);
}

function latencies({ table: measured, versions }: Results): string {
  const open = SCENARIOS.filter(({ latencyAgainst }) => latencyAgainst !== undefined);
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

function rates({ table: measured, versions, handshakes }: Results): string {
  const row = measured.get('unary-4x8');
  const rows = [...versions.keys()].map((name) => {
    const found = row?.get(name);
    const hands = handshakes.get(name);
    return [
      name,
      found ? `${Math.round(found.callsPerSecond.median)}` : '–',
      found ? `${Math.round(found.proxyLoad * 100)} % / ${Math.round(found.clientLoad * 100)} %` : '–',
      found ? `${Math.round(1e6 / found.cpuMicros.median)}` : '–',
      hands ? handshakeCost(hands.full) : '–',
      hands
        ? `${handshakeCost(hands.resumed)}, ${hands.resumed.resumed} of ${hands.resumed.handshakes} resumed`
        : '–',
    ];
  });
  return `## Largest rate on one core, and handshakes

Calls a second at 4 × 8 as measured, how busy the proxy's and the load's core were meanwhile, and what one whole core would do at that cost. A handshake is a new connection with a client certificate up to the proxy's first HTTP/2 frame. Gatehouse resumes none on purpose: a session must not outlive a certificate, a bundle or a policy.

${table(['', 'calls/s', 'busy: proxy / load', 'calls/s of a full core', 'full handshake', 'with the last session offered'], rows)}

`;
}

function secondCore({ cores }: Results): string {
  if (cores.size === 0) return '';
  const rows = SCENARIOS.flatMap(({ id, title }) =>
    [...(cores.get(id) ?? [])].map(([name, found]) => [
      title,
      name,
      spread(found.cpuMicros),
      `${Math.round(found.callsPerSecond.median)}`,
      format(found.residentMb),
    ]),
  );
  return `## A second core

One process on one core, and two processes that share the listening socket (\`node:cluster\`), the second of them on the core of the load, which it has to share: the cost of a call says what the second core gives, the rate is what this machine has left.

${table(['scenario', '', 'µs for each call', 'calls/s', 'MB resident'], rows)}

Processes, not threads: what threads would save is the program's code, since each needs its own heap, its own TLS contexts and its own connections to the app; and a process that dies takes no other with it. Nothing is shared between them, so limits that count in memory, the decision list and metrics are each process's own. That is why the sidecar runs as one process, and more of them come as replicas of the pod.
`;
}

function handshakeCost({ handshakes, cpuMicros }: HandshakeResult): string {
  return handshakes === 0
    ? '–'
    : `${Math.round(cpuMicros / handshakes)} µs (${Math.round((1e6 * handshakes) / cpuMicros)}/s of a core)`;
}

function memory({ table: measured, versions, idleMb, imports }: Results): string {
  const rows = [...versions.keys()].map((name) => [
    name,
    format(idleMb.get(name) ?? Number.NaN),
    format(measured.get('unary-200x1')?.get(name)?.residentMb ?? Number.NaN),
  ]);
  return `## Memory, MB resident

${table(['', 'idle after start', '200 connections under load'], rows)}

The loaded figure comes after all earlier rows of the table in the same process. What each import adds to a process that does nothing else:

${table(
  ['import', 'MB'],
  imports.map(([name, megabytes]) => [`\`${name}\``, megabytes.toFixed(1)]),
)}
`;
}

function growth({ policies, connections }: Results): string {
  const byRules = [...policies].map(([name, measured]) => [
    POLICY_TITLES[name] ?? name.replace('rules-', ''),
    spread(measured.cpuMicros),
  ]);
  const byConnections = CONNECTION_COUNTS.map((count) => {
    const measured = connections.get(`connections-${count}`)?.get(OURS);
    return [
      String(count),
      measured ? spread(measured.cpuMicros) : '–',
      measured ? measured.p99Ms.median.toFixed(3) : '–',
    ];
  });
  return `## Growth

By policy rules, at 4 × 8:

${table(['rules', 'µs for each call'], byRules)}

By connections, 5,000 calls a second in all (open loop). The more connections, the fewer calls share a read and a write:

${table(['connections', 'µs for each call', 'p99, ms'], byConnections)}
`;
}

function stages({ profiles }: Results): string {
  if (profiles.size === 0) return '';
  const blocks = [...profiles].map(([title, { byStage }]) => {
    const rows = byStage
      .filter(({ share }) => share >= SHARE_SHOWN_MIN)
      .map(({ name, share }) => [`\`${name}\``, `${(share * 100).toFixed(1)} %`]);
    return `${title}:\n\n${table(['where', 'share of CPU samples'], rows)}\n`;
  });
  return `## Where the time goes

V8's sampling profiler on the sidecar, self time by file, idle time left out. \`native\` is what JavaScript calls of Node's C++ (\`writeBuffer\` is a TLS record and its system call), \`(program)\` the rest of the event loop.

${blocks.join('\n')}`;
}

function nodeFlags({ nodeVariants }: Results): string {
  if (nodeVariants.length === 0) return '';
  const ids = [...(nodeVariants[0]?.measured.keys() ?? [])];
  const rows = nodeVariants.map(({ name, idleMb, measured }) => [
    name,
    format(idleMb),
    format(Math.max(...[...measured.values()].map(({ residentMb }) => residentMb))),
    ...ids.map((id) => cell(measured.get(id))),
  ]);
  return `## Ways to start Node

The sidecar with one option each; MB resident, then µs for each call.

${table(['', 'idle', 'loaded', ...ids], rows)}
`;
}
