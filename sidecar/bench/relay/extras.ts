/** What is measured of the sidecar alone, beside the table. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import startOptions from '../../start-options.json' with { type: 'json' };
import { type ProfileSummary, summariseProfile } from './cpu-profile.ts';
import type { HandshakeResult } from './load/cell.ts';
import type { Memory } from './load/process-tree.ts';
import type { LoadDriver } from './load-driver.ts';
import { type Measured, measureTable, type Pace, type Table } from './measure.ts';
import type { Candidate, Ground } from './peers/candidate.ts';
import { type SidecarVariant, sidecar } from './peers/sidecar.ts';
import { type RunningCandidate, startCandidate } from './running-candidate.ts';
import { SCENARIOS, type Scenario, unaryScenario } from './scenarios.ts';

export type Bench = {
  readonly load: LoadDriver;
  /** Of the sidecar and its peers. */
  readonly ground: Ground;
  readonly token: string;
  readonly issuer: NonNullable<SidecarVariant['issuer']>;
  readonly pace: Pace;
};

/** Runs `use` with these candidates started, those that are there, and stops them in the end. */
export async function withCandidates<T>(
  ground: Ground,
  candidates: readonly Candidate[],
  use: (running: readonly RunningCandidate[]) => Promise<T>,
): Promise<T> {
  const running: RunningCandidate[] = [];
  try {
    for (const candidate of candidates) {
      const started = await startCandidate(candidate, ground);
      if (started === null) process.stderr.write(`${candidate.name} is not installed: left out\n`);
      else running.push(started);
    }
    return await use(running);
  } finally {
    for (const candidate of running) await candidate.stop();
  }
}

const FIRST = SCENARIOS[0] as Scenario;

export const RULE_COUNTS = [1, 100, 10_000] as const;

/** True for every call: what is measured is a rule that matches. */
const CONDITION = 'token.claims.team == "ml" && identity.trust_domain == "bench.gatehouse"';

/** Cost by the number of policy rules, and with an end-user token and a condition, beside the plain sidecar. */
export async function measurePolicies({
  load,
  ground,
  token,
  issuer,
  pace,
}: Bench): Promise<Map<string, Measured>> {
  const variants: SidecarVariant[] = [
    ...RULE_COUNTS.map((rules) => ({ name: `rules-${rules}`, rules })),
    { name: 'token', issuer },
    { name: 'token-and-condition', issuer, condition: CONDITION },
  ];
  return withCandidates(ground, variants.map(sidecar), async (running) => {
    const table = await measureTable(
      load,
      running,
      [{ ...FIRST, tokens: { token, 'token-and-condition': token } }],
      pace,
    );
    return table.get(FIRST.id) ?? new Map<string, Measured>();
  });
}

export const CONNECTION_COUNTS = [1, 10, 100, 1000] as const;
const GROWTH_RPS = 5000;

/** Cost of the same rate of calls by the number of connections that they come on. */
export function measureConnections(
  { load, pace }: Bench,
  running: readonly RunningCandidate[],
): Promise<Table> {
  const scenarios = CONNECTION_COUNTS.map((count) =>
    unaryScenario(`connections-${count}`, count, { openRps: GROWTH_RPS }),
  );
  return measureTable(load, running, scenarios, pace);
}

/** Full handshakes, and such as offer the session of the one before. */
export async function measureHandshakes(
  { load, pace }: Bench,
  running: readonly RunningCandidate[],
): Promise<Map<string, { readonly full: HandshakeResult; readonly resumed: HandshakeResult }>> {
  const results = new Map<string, { full: HandshakeResult; resumed: HandshakeResult }>();
  for (const { name, port, pid } of running) {
    const cell = { port, pid, concurrency: 8, measureMs: pace.seconds * 1000 };
    const full = await load.handshakes({ ...cell, resume: false });
    results.set(name, { full, resumed: await load.handshakes({ ...cell, resume: true }) });
  }
  return results;
}

/** The client against the app over TLS with nothing between: what the load process can do when it does all the work. */
export async function measureCeiling({ load, pace }: Bench): Promise<Measured | undefined> {
  const itself: RunningCandidate = {
    name: 'none',
    version: '',
    port: load.ports.tlsAppPort,
    pid: load.pid,
    idle: { residentMb: 0, ownMb: 0 },
    stop: async () => {},
  };
  const table = await measureTable(load, [itself], [{ ...FIRST, id: 'ceiling' }], pace);
  return table.get('ceiling')?.get('none');
}

/** The sidecar as one process on a core, and as two behind one port, one of them on the core of the load. */
export async function measureCores(
  { load, ground, pace }: Bench,
  scenarios: readonly Scenario[],
): Promise<Table> {
  const variants: SidecarVariant[] = [{ name: 'one process' }, { name: 'two processes', processes: 2 }];
  return withCandidates(ground, variants.map(sidecar), (running) =>
    measureTable(load, running, scenarios, pace),
  );
}

const PROFILE_WARM_MS = 3000;
const PROFILE_MS = 5000;
/** From the process's start: until then it has loaded its modules and compiled what is hot. */
const PROFILE_FROM_MS = 5500;

/** Where the time of a call goes: self time by source file, from V8's sampling profiler. */
export async function profileScenario(
  { load, ground }: Bench,
  scenario: Scenario,
): Promise<ProfileSummary | null> {
  const folder = join(ground.folder, `profile-${scenario.id}`);
  await mkdir(folder, { recursive: true });
  const variant = {
    name: `profiled-${scenario.id}`,
    // Of sources, since a bundle is one file without names.
    from: 'sources' as const,
    nodeFlags: [...startOptions.flags, '--cpu-prof', '--cpu-prof-interval=500', '--cpu-prof-dir', folder],
  };
  await withCandidates(ground, [sidecar(variant)], async ([profiled]) => {
    if (profiled === undefined) return;
    const { connections, loop, answer, path, payloadBytes } = scenario.load;
    const call = { path, payloadBytes };
    const times = { warmMs: PROFILE_WARM_MS, warmCalls: 0, measureMs: PROFILE_MS };
    await load.cell({ port: profiled.port, pid: profiled.pid, connections, loop, answer, call, ...times });
  });
  return summariseProfile(folder, PROFILE_FROM_MS);
}

const flagsWithout = (flag: string): string[] => startOptions.flags.filter((each) => !each.startsWith(flag));
const semiSpace = (megabytes: number): string[] => [
  ...flagsWithout('--max-semi-space-size'),
  `--max-semi-space-size=${megabytes}`,
];

/** Ways to start Node; the first is the one that all other figures are of. */
const NODE_VARIANTS: readonly SidecarVariant[] = [
  { name: `as the image does` },
  { name: 'as many arenas of malloc as threads want', env: { MALLOC_ARENA_MAX: '' } },
  { name: 'without --heap-growing-percent', nodeFlags: flagsWithout('--heap-growing-percent') },
  { name: '--max-semi-space-size=2', nodeFlags: semiSpace(2) },
  { name: '--max-semi-space-size=8', nodeFlags: semiSpace(8) },
  { name: '--max-semi-space-size=16', nodeFlags: semiSpace(16) },
  { name: 'and --single-threaded-gc', nodeFlags: [...startOptions.flags, '--single-threaded-gc'] },
  { name: 'and --optimize-for-size', nodeFlags: [...startOptions.flags, '--optimize-for-size'] },
  { name: 'no options at all', nodeFlags: [], env: { MALLOC_ARENA_MAX: '' } },
  { name: 'from sources, with a compile cache', from: 'sources' },
  { name: 'from sources', from: 'sources', env: { NODE_DISABLE_COMPILE_CACHE: '1' } },
];

export type NodeVariantResult = {
  readonly name: string;
  readonly idle: Memory;
  readonly measured: Map<string, Measured>;
};

export async function measureNodeVariants(
  { load, ground, pace }: Bench,
  scenarios: readonly Scenario[],
): Promise<NodeVariantResult[]> {
  return withCandidates(ground, NODE_VARIANTS.map(sidecar), async (running) => {
    const table = await measureTable(load, running, scenarios, pace);
    return running.map(({ name, idle }) => {
      const measured = new Map<string, Measured>();
      for (const [id, row] of table) {
        const cell = row.get(name);
        if (cell) measured.set(id, cell);
      }
      return { name, idle, measured };
    });
  });
}
