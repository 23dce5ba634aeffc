/** What was measured of the sidecar beside the table. */
import { format } from './chart.ts';
import { CONNECTION_COUNTS } from './extras.ts';
import type { HandshakeResult } from './load/cell.ts';
import { cell, spread, table } from './markdown-table.ts';
import { byStage } from './path-stages.ts';
import type { Results } from './results.ts';
import { SCENARIOS } from './scenarios.ts';
import { OURS } from './targets.ts';

const SHARE_SHOWN_MIN = 0.015;
const POLICY_TITLES: Readonly<Record<string, string>> = {
  token: '1, and an end-user token required (verified before)',
  'token-and-condition': '1, a token required, and a CEL condition on its claims and the identity',
};

export function rates({ table: measured, versions, handshakes }: Results): string {
  if (handshakes.size === 0) return '';
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

export function secondCore({ cores }: Results): string {
  if (cores.size === 0) return '';
  const rows = SCENARIOS.flatMap(({ id, title }) =>
    [...(cores.get(id) ?? [])].map(([name, found]) => [
      title,
      name,
      spread(found.cpuMicros),
      `${Math.round(found.callsPerSecond.median)}`,
      format(found.memory.residentMb),
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

export function memory({ table: measured, idle, imports }: Results): string {
  const rows = [...idle].map(([name, still]) => {
    const loaded = measured.get('unary-200x1')?.get(name)?.memory;
    return [
      name,
      ...[still, loaded].flatMap((each) =>
        each ? [format(each.residentMb), format(each.ownMb)] : ['–', '–'],
      ),
    ];
  });
  const titles = ['', 'idle after start', 'of it own', '200 connections under load', 'of it own'];
  const held = `${table(titles, rows)}

Own is what belongs to no file: heap, buffers, stacks. The rest are pages of the program's file, which the processes of a machine share. The loaded figure comes after the rows of the table above that one, in the same process.
`;
  const costs = imports.map(({ name, residentMb, ownMb }) => [
    `\`${name}\``,
    residentMb.toFixed(1),
    ownMb.toFixed(1),
  ]);
  const paid = `What each part of the bundle adds to a process that does nothing else, in this order, so that each pays for what those before have not loaded:

${table(['', 'MB resident', 'of it own'], costs)}
`;
  if (idle.size === 0 && imports.length === 0) return '';
  return `## Memory, MB resident

${[idle.size > 0 ? held : '', imports.length > 0 ? paid : ''].filter(Boolean).join('\n')}`;
}

export function growth({ policies, connections }: Results): string {
  if (policies.size === 0 && connections.size === 0) return '';
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

export function stages({ profiles, table: measured }: Results): string {
  if (profiles.size === 0) return '';
  const ids = SCENARIOS.filter(({ id }) => profiles.has(id)).map(({ id }) => id);
  const columns = ids.map((id) => {
    const cpu = measured.get(id)?.get(OURS)?.cpuMicros.median;
    const parts = byStage(profiles.get(id)?.byPlace ?? []);
    return new Map(parts.map(({ name, share }) => [name, stageCost(share, cpu)]));
  });
  const names = new Set(columns.flatMap((column) => [...column.keys()]));
  const rows = [...names].map((name) => [name, ...columns.map((column) => column.get(name) ?? '–')]);
  return `## What each stage costs

µs for each call (paced and burst: for each call, not message) and share of its CPU: the median of the table above, divided as V8's sampling profiler divides it (self time by source file, idle time left out; of the sources, since a bundle has no files).

${table(['stage', ...ids], rows)}
`;
}

function stageCost(share: number, cpuMicros: number | undefined): string {
  const percent = `${(share * 100).toFixed(1)} %`;
  return cpuMicros === undefined ? percent : `${(share * cpuMicros).toFixed(1)} (${percent})`;
}

export function places({ profiles }: Results): string {
  if (profiles.size === 0) return '';
  const blocks = [...profiles].map(([id, { byPlace }]) => {
    const shown = byPlace.filter(({ share }) => share >= SHARE_SHOWN_MIN);
    return `- **${id}**: ${shown.map(({ name, share }) => `\`${name}\` ${(share * 100).toFixed(1)} %`).join(', ')}.`;
  });
  return `The same by file. \`native\` is what JavaScript calls of Node's C++ (\`writeBuffer\` is a TLS record and its system call), \`(program)\` the rest of the event loop.

${blocks.join('\n')}
`;
}

export function nodeFlags({ nodeVariants }: Results): string {
  if (nodeVariants.length === 0) return '';
  const ids = [...(nodeVariants[0]?.measured.keys() ?? [])];
  const rows = nodeVariants.map(({ name, idle, measured }) => [
    name,
    format(idle.residentMb),
    format(Math.max(...[...measured.values()].map(({ memory: { residentMb } }) => residentMb))),
    ...ids.map((id) => cell(measured.get(id))),
  ]);
  return `## Ways to start Node

The sidecar with one option each; MB resident, then µs for each call.

${table(['', 'idle', 'loaded', ...ids], rows)}
`;
}
