/**
 * What does a relayed call cost, and what does it cost in the proxies that one would take otherwise? Every candidate
 * runs on one core, client and app on the other, in turns; the measure is the CPU time of the proxy for each call.
 *
 *   pnpm bench:relay [--rounds 3] [--seconds 1.2] [--only NAME,NAME] [--candidates NAME,NAME]
 *
 * A full run writes RESULTS.md and RESULTS.svg beside this folder. With `--only` it measures these scenarios or parts (a wrong
 * name is answered with all of them) and prints what they came to; with `--candidates`, of these proxies.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { ProfileSummary } from './cpu-profile.ts';
import {
  type Bench,
  measureCeiling,
  measureConnections,
  measureCores,
  measureHandshakes,
  measureNodeVariants,
  measurePolicies,
  profileScenario,
  withCandidates,
} from './extras.ts';
import { layGround } from './ground.ts';
import { measureImports } from './import-cost.ts';
import { LoadDriver } from './load-driver.ts';
import { measureTable } from './measure.ts';
import type { Candidate } from './peers/candidate.ts';
import { envoy } from './peers/envoy.ts';
import { grpcJsProxy } from './peers/grpc-js-proxy/grpc-js-proxy.ts';
import { haproxy } from './peers/haproxy.ts';
import { installDebianPeers, installEnvoy } from './peers/install.ts';
import { nghttpx } from './peers/nghttpx.ts';
import { nginx } from './peers/nginx.ts';
import { sidecar } from './peers/sidecar.ts';
import { writeSidecarImage } from './peers/sidecar-image.ts';
import { chart, markdown, sections } from './report.ts';
import type { Results } from './results.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import { OURS } from './targets.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const RESULTS_FILE = fileURLToPath(new URL('../RESULTS.md', import.meta.url));
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '1.2' },
    only: { type: 'string' },
    candidates: { type: 'string' },
  },
});
const pace = { rounds: Number(values.rounds), seconds: Number(values.seconds) };
const chosen = values.candidates?.split(',');
/** Of the sidecar alone a shorter look will do. */
const shortPace = { rounds: Math.min(2, pace.rounds), seconds: 0.8 };
const say = (line: string): void => console.error(line);
const scenario = (id: string): Scenario => SCENARIOS.find((each) => each.id === id) as Scenario;

type Part = () => Promise<Partial<Results>>;

/** Parts that a run may be limited to, beside single scenarios. Those of the first group have the candidates running. */
const WITH_CANDIDATES = ['handshakes', 'connections'];
const ALONE = ['ceiling', 'imports', 'policies', 'second-core', 'profiles', 'node-options'];
/** The scenarios after which memory is read, in short. */
const MEMORY = ['unary-4x8', 'unary-4x100', 'unary-200x1'];
const PROFILED = ['unary-4x8', 'unary-4x100', 'unary-200x1', 'open-1000', 'open-5000', 'burst', 'paced'];

const names = [...SCENARIOS.map(({ id }) => id), 'memory', ...WITH_CANDIDATES, ...ALONE];
const only = values.only?.split(',').flatMap((name) => (name === 'memory' ? MEMORY : name));
const unknown = only?.find((name) => !names.includes(name));
if (unknown !== undefined) {
  say(`--only ${unknown}: expected some of ${names.join(', ')}`);
  process.exit(2);
}
const wanted = (name: string): boolean => only?.includes(name) ?? true;

function partsAlone(bench: Bench, folder: string): Record<string, Part> {
  const short = { ...bench, pace: shortPace };
  const first = [scenario('unary-4x8'), scenario('unary-200x1')];
  return {
    ceiling: async () => ({ ceiling: await measureCeiling(short) }),
    imports: async () => ({ imports: await measureImports(ROOT, join(folder, 'image/app/apart')) }),
    policies: async () => ({ policies: await measurePolicies(short) }),
    'second-core': async () => ({ cores: await measureCores(short, first) }),
    profiles: async () => ({ profiles: await profiles(bench) }),
    'node-options': async () => ({ nodeVariants: await measureNodeVariants(short, first) }),
  };
}

/** The table, and what else is measured of candidates that run already. */
async function measureCandidates(bench: Bench, candidates: readonly Candidate[]): Promise<Partial<Results>> {
  return withCandidates(bench.ground, candidates, async (running) => {
    const short = { ...bench, pace: shortPace };
    const table = await measureTable(
      bench.load,
      running,
      SCENARIOS.filter(({ id }) => wanted(id)),
      pace,
    );
    const ours = running.filter(({ name }) => name === OURS);
    const versions = new Map(running.map(({ name, version }) => [name, version]));
    return {
      versions,
      absent: candidates.map(({ name }) => name).filter((name) => !versions.has(name)),
      idle: new Map(running.map(({ name, idle }) => [name, idle])),
      table,
      ...(wanted('handshakes') && { handshakes: await measureHandshakes(short, running) }),
      ...(wanted('connections') && { connections: await measureConnections(short, ours) }),
    };
  });
}

/** Tells of what there is after each part, so that a run which is cut short, or a part that fails, leaves the others. */
async function measureAll(
  parts: Readonly<Record<string, Part>>,
  tell: (results: Results) => Promise<void>,
): Promise<void> {
  let results: Results = {
    command: 'pnpm bench:relay',
    versions: new Map(),
    idle: new Map(),
    absent: [],
    table: new Map(),
    ceiling: undefined,
    policies: new Map(),
    connections: new Map(),
    handshakes: new Map(),
    profiles: new Map(),
    nodeVariants: [],
    cores: new Map(),
    imports: [],
    pace,
  };
  for (const [name, measure] of Object.entries(parts)) {
    say(name);
    try {
      results = { ...results, ...(await measure()) };
      await tell(results);
    } catch (error) {
      // What was measured before is worth keeping, and what comes after is worth trying.
      say(`${name} could not be measured: ${String(error)}`);
      process.exitCode = 1;
    }
  }
}

async function profiles(bench: Bench): Promise<Map<string, ProfileSummary>> {
  const found = new Map<string, ProfileSummary>();
  for (const id of PROFILED) {
    const profile = await profileScenario(bench, scenario(id));
    if (profile) found.set(id, profile);
  }
  return found;
}

async function writeResults(results: Results): Promise<void> {
  // The chart needs the table.
  if (results.table.size === 0) return;
  await writeFile(RESULTS_FILE, markdown(results));
  await writeFile(RESULTS_FILE.replace(/md$/, 'svg'), chart(results));
  say(`written: ${RESULTS_FILE}`);
}

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
const folder = await mkdtemp(join(tmpdir(), 'gh-relay-'));
const { token, issuer, ...ground } = await layGround(folder);
const load = await LoadDriver.start(ground.caller);
try {
  await installDebianPeers();
  const imageMain = await writeSidecarImage(folder);
  const all = [sidecar({ name: OURS }), nginx, haproxy, nghttpx, envoy(await installEnvoy()), grpcJsProxy];
  const candidates = all.filter(({ name }) => chosen?.includes(name) ?? true);
  const bench: Bench = {
    load,
    ground: { ...ground, ...ground.server, ...load.ports, imageMain },
    token,
    issuer,
    pace,
  };
  const alone = Object.entries(partsAlone(bench, folder)).filter(([name]) => wanted(name));
  const needsCandidates = [...WITH_CANDIDATES, ...SCENARIOS.map(({ id }) => id)].some(wanted);
  const parts = {
    ...(needsCandidates && { 'all candidates': () => measureCandidates(bench, candidates) }),
    ...Object.fromEntries(alone),
  };
  if (chosen === undefined && only === undefined) {
    await measureAll(parts, writeResults);
  } else {
    let last = '';
    await measureAll(parts, async (results) => {
      last = sections(results);
    });
    process.stdout.write(`${last}\n`);
  }
} finally {
  await load.stop();
  await rm(folder, { recursive: true, force: true });
}
