/**
 * How long does the local mesh take to be ready, and how much memory and how many metrics does each process have after the tour? The mesh
 * starts twice on free ports: the first start warms caches, the second counts. Linux only: memory is read from /proc.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createSpanRecorder } from '@gatehouse/telemetry/span-recorder';
import { createScreen, createTourTrace, receiveTraces, runTour, startLocalMesh } from '../src/index.ts';

const READY_SECONDS_TARGET = 20;
const MEGABYTES_TARGET: Readonly<Record<string, number>> = { inference: 600, embeddings: 350 };
const SIDECAR_MEGABYTES_TARGET = 130;

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../..', import.meta.url));
const clock = (): number => Date.now();
/** Both starts keep compiled code in one place, as two starts of one checkout do. */
const compileCache = await mkdtemp(join(tmpdir(), 'gatehouse-bench-code-'));
const modelsDir =
  process.env['GATEHOUSE_MODELS_DIR'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'gatehouse', 'models');

async function residentMegabytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1000;
}

/** A process with its children: an engine may run in one of its own. */
async function treeMegabytes(pid: number): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const below = await Promise.all(
    children
      .split(' ')
      .filter(Boolean)
      .map((child) => treeMegabytes(Number(child))),
  );
  return (await residentMegabytes(pid)) + below.reduce((sum, each) => sum + each, 0);
}

function definedOnly(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

async function startOnce(showMemory: boolean): Promise<number> {
  const dataDir = await mkdtemp(join(tmpdir(), 'gatehouse-bench-'));
  const receiver = await receiveTraces();
  const begunMs = clock();
  const mesh = await startLocalMesh({
    root,
    dataDir,
    modelsDir,
    otlpEndpoint: receiver.endpoint,
    clock,
    env: { ...definedOnly(process.env), NODE_COMPILE_CACHE: compileCache },
  });
  const readySeconds = (clock() - begunMs) / 1000;
  try {
    if (!showMemory) return readySeconds;
    const recorder = await createSpanRecorder({ serviceName: 'bench', otlpEndpoint: receiver.endpoint });
    const trace = createTourTrace({ recorder, receiver, clock });
    const screen = createScreen({ write: () => true });
    const failed = await runTour({
      mesh: mesh.state,
      screen,
      trace,
      signal: new AbortController().signal,
      verifyAudit: (folder) =>
        run(process.execPath, [join(root, 'libs/cli/src/main.ts'), 'audit', 'verify', folder]).then(
          () => true,
          () => false,
        ),
    });
    await recorder.shutdown();
    if (failed.length > 0) throw new Error(`the tour failed: ${failed.join(', ')}`);
    console.log('resident memory after the tour, megabytes');
    for (const [name, pid] of Object.entries(mesh.pids)) {
      const target = name.endsWith('sidecar') ? SIDECAR_MEGABYTES_TARGET : MEGABYTES_TARGET[name];
      const against = target === undefined ? '' : `  (target below ${target})`;
      console.log(`  ${name.padEnd(22)} ${(await treeMegabytes(pid)).toFixed(0)}${against}`);
    }
    console.log('series that Prometheus would keep of each sidecar');
    for (const [name, { telemetry }] of Object.entries(mesh.state.services)) {
      const text = await (await fetch(`http://${telemetry}/metrics`)).text();
      const series = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
      console.log(`  ${`${name}-sidecar`.padEnd(22)} ${series.length}`);
    }
    return readySeconds;
  } finally {
    await mesh.stop();
    receiver.close();
    await rm(dataDir, { recursive: true, force: true });
  }
}

const cold = await startOnce(false);
const warm = await startOnce(true);
console.log(
  `mesh ready after ${cold.toFixed(1)} s, warm ${warm.toFixed(1)} s (target below ${READY_SECONDS_TARGET})`,
);
await rm(compileCache, { recursive: true, force: true });
