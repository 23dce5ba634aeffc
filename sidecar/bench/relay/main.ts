/**
 * What does a relayed call cost, and what does it cost in the proxies that one would take otherwise? Every candidate
 * runs on one core, client and app on the other, in turns; the measure is the CPU time of the proxy for each call.
 *
 *   pnpm bench:relay [--rounds 3] [--seconds 1.2] [--only id,id] [--candidates name,name]
 *
 * A full run writes RESULTS.md and RESULTS.svg beside this folder; with `--only` or `--candidates` it only prints.
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
import { chart, markdown, type Results } from './report.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import { OURS } from './targets.ts';

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
const ids = values.only?.split(',');
const scenarios = SCENARIOS.filter(({ id }) => ids?.includes(id) ?? true);
/** Of the sidecar alone a shorter look will do. */
const shortPace = { rounds: Math.min(2, pace.rounds), seconds: 0.8 };
const say = (line: string): void => console.error(line);
const scenario = (id: string): Scenario => SCENARIOS.find((each) => each.id === id) as Scenario;

/** Writes what there is after each part, so that a run which is cut short, or a part that fails, leaves the others. */
async function writeResults(file: string, bench: Bench, candidates: readonly Candidate[]): Promise<void> {
  const short = { ...bench, pace: shortPace };
  say('the load by itself');
  const ceiling = await measureCeiling(short);
  let results: Results = await withCandidates(bench.ground, candidates, async (running) => {
    say('all candidates');
    const table = await measureTable(bench.load, running, scenarios, pace);
    say('handshakes and growth');
    const handshakes = await measureHandshakes(short, running);
    const ours = running.filter(({ name }) => name === OURS);
    const connections = await measureConnections(short, ours);
    const versions = new Map(running.map(({ name, version }) => [name, version]));
    const idleMb = new Map(running.map((each) => [each.name, each.idleMb]));
    const absent = candidates.map(({ name }) => name).filter((name) => !versions.has(name));
    const others = {
      policies: new Map(),
      profiles: new Map(),
      nodeVariants: [],
      imports: [],
      cores: new Map(),
    };
    const command = 'pnpm bench:relay';
    return { command, versions, idleMb, absent, table, ceiling, connections, handshakes, pace, ...others };
  });
  const write = async (more: Partial<Results>): Promise<void> => {
    results = { ...results, ...more };
    await writeFile(file, markdown(results));
    await writeFile(file.replace(/md$/, 'svg'), chart(results));
    say(`written: ${file}`);
  };
  await write({});
  const first = [scenario('unary-4x8'), scenario('unary-200x1')];
  const parts: Record<string, () => Promise<Partial<Results>>> = {
    imports: async () => ({ imports: await measureImports() }),
    policies: async () => ({ policies: await measurePolicies(short) }),
    'a second core': async () => ({ cores: await measureCores(short, first) }),
    profiles: async () => ({ profiles: await profiles(bench) }),
    'ways to start Node': async () => ({ nodeVariants: await measureNodeVariants(short, first) }),
  };
  for (const [name, measure] of Object.entries(parts)) {
    say(name);
    try {
      await write(await measure());
    } catch (error) {
      // What was measured before is worth keeping, and what comes after is worth trying.
      say(`${name} could not be measured: ${String(error)}`);
      process.exitCode = 1;
    }
  }
}

async function profiles(bench: Bench): Promise<Map<string, ProfileSummary>> {
  const found = new Map<string, ProfileSummary>();
  for (const id of ['unary-4x8', 'unary-200x1', 'burst']) {
    const profile = await profileScenario(bench, scenario(id));
    if (profile) found.set(scenario(id).title, profile);
  }
  return found;
}

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
const folder = await mkdtemp(join(tmpdir(), 'gh-relay-'));
const { token, issuer, ...ground } = await layGround(folder);
const load = await LoadDriver.start(ground.caller);
try {
  await installDebianPeers();
  const all = [sidecar({ name: OURS }), nginx, haproxy, nghttpx, envoy(await installEnvoy()), grpcJsProxy];
  const candidates = all.filter(({ name }) => chosen?.includes(name) ?? true);
  const bench: Bench = { load, ground: { ...ground, ...ground.server, ...load.ports }, token, issuer, pace };
  if (chosen === undefined && ids === undefined) {
    await writeResults(fileURLToPath(new URL('../RESULTS.md', import.meta.url)), bench, candidates);
  } else {
    await withCandidates(bench.ground, candidates, (running) => measureTable(load, running, scenarios, pace));
  }
} finally {
  await load.stop();
  await rm(folder, { recursive: true, force: true });
}
