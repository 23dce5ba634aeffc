/**
 * What does a relayed call cost, and what does it cost in the proxies that one would take otherwise? Every candidate runs on
 * one core, client and app on the other, in turns; the measure is the CPU time of the proxy's processes for each call.
 *
 *   node sidecar/bench/relay/main.ts [--rounds 3] [--seconds 1.5] [--only id,id] [--candidates name,name] [--profile]
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { layGround } from './ground.ts';
import type { Cell, CellResult } from './load/cell.ts';
import { LoadDriver } from './load-driver.ts';
import type { Candidate, Ground } from './peers/candidate.ts';
import { envoy } from './peers/envoy.ts';
import { grpcJsProxy } from './peers/grpc-js-proxy/grpc-js-proxy.ts';
import { haproxy } from './peers/haproxy.ts';
import { installDebianPeers, installEnvoy } from './peers/install.ts';
import { nghttpx } from './peers/nghttpx.ts';
import { nginx } from './peers/nginx.ts';
import { sidecar } from './peers/sidecar.ts';
import { type RunningCandidate, startCandidate } from './running-candidate.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import { spreadOf } from './statistics.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '1.5' },
    only: { type: 'string' },
    candidates: { type: 'string' },
  },
});
const chosen = values.candidates?.split(',');
const scenarios = SCENARIOS.filter(({ id }) => values.only?.split(',').includes(id) ?? true);
const folder = await mkdtemp(join(tmpdir(), 'gh-relay-'));
const ground = await layGround(folder);
const load = await LoadDriver.start(ground.caller);
const running: RunningCandidate[] = [];
try {
  await installDebianPeers();
  const all: Candidate[] = [
    sidecar({ name: 'Gatehouse' }),
    nginx,
    haproxy,
    nghttpx,
    envoy(await installEnvoy()),
    grpcJsProxy,
  ];
  const forPeers: Ground = { ...ground, ...ground.server, ...load.ports };
  for (const candidate of all) {
    if (chosen && !chosen.includes(candidate.name)) continue;
    const started = await startCandidate(candidate, forPeers);
    if (started === null) console.log(`${candidate.name}: not installed, left out`);
    else running.push(started);
    if (started) console.log(started.name, started.version, started.idleMb.toFixed(1), 'MB idle');
  }
  const results = new Map<string, number[]>();
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const scenario of scenarios) {
      for (const candidate of running) {
        if (scenario.without?.includes(candidate.name)) continue;
        const { connections, loop, answer, path, payloadBytes } = scenario.load;
        const cell: Cell = {
          port: candidate.port,
          pid: candidate.pid,
          connections,
          loop,
          answer,
          call: { path, payloadBytes },
          warmMs: round === 0 ? 3000 : 300,
          measureMs: Number(values.seconds) * 1000,
        };
        const r: CellResult = await load.cell(cell);
        const units = scenario.per === 'call' ? r.calls : r.calls * answer.messages;
        const key = `${scenario.id} ${candidate.name}`;
        results.set(key, [...(results.get(key) ?? []), r.cpuMicros / units]);
        console.log(
          key.padEnd(24),
          (r.cpuMicros / units).toFixed(1),
          'µs',
          Math.round(r.calls / r.seconds),
          '/s',
          'proxy',
          (r.cpuMicros / r.seconds / 1e6).toFixed(2),
          'load',
          (r.loadCpuMicros / r.seconds / 1e6).toFixed(2),
          JSON.stringify(r.failures),
          r.p50Ms.toFixed(3),
          r.p99Ms.toFixed(3),
          r.residentMb.toFixed(0),
          'MB',
        );
      }
    }
  }
  for (const [key, list] of results) console.log(key, spreadOf(list));
} finally {
  for (const candidate of running) await candidate.stop();
  await load.stop();
  await rm(folder, { recursive: true, force: true });
}
