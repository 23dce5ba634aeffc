import { once } from 'node:events';
import { cpus } from 'node:os';
import { type ConnectionOptions, connect } from 'node:tls';
import { AnswerFrames } from './answers.ts';
import type { App } from './app.ts';
import { callFrames } from './call-frames.ts';
import { Caller, Tally } from './caller.ts';
import type { Cell, CellResult } from './cell.ts';
import { busyMicros, cpuMicros, memoryOf, processTree } from './process-tree.ts';

const WARM_MS_MAX = 8000;
const CONNECT_AT_ONCE = 16;
const CONNECT_MS_MAX = 10_000;
const DRAIN_MS_MAX = 3000;

/** Opens the cell's connections, loads them, and measures the middle part. */
export async function runCell(cell: Cell, app: App, tls: ConnectionOptions): Promise<CellResult> {
  app.answer = new AnswerFrames(cell.answer);
  const tally = new Tally();
  const callers: Caller[] = [];
  try {
    while (callers.length < cell.connections) {
      const count = Math.min(CONNECT_AT_ONCE, cell.connections - callers.length);
      callers.push(
        ...(await Promise.all(
          Array.from({ length: count }, () => open(cell, tls, { tally, answerBytes: app.answer.dataBytes })),
        )),
      );
    }
    const stop =
      'closed' in cell.loop ? startClosed(callers, cell.loop.closed) : startOpen(callers, cell.loop.openRps);
    await warmUp(cell, () => tally.dataBytes / app.answer.dataBytes);
    const pids = processTree(cell.pid);
    tally.keepLatencies = 'openRps' in cell.loop;
    const from = snapshot(tally, pids);
    await sleep(cell.measureMs);
    const to = snapshot(tally, pids);
    const memory = memoryOf(pids);
    tally.keepLatencies = false;
    stop();
    await drained(callers);
    for (const caller of callers) caller.close();
    const sorted = Float64Array.from(tally.latenciesMs).sort();
    return {
      // Counted by what has come of them, since a paced stream takes longer than many a measurement.
      calls: (to.dataBytes - from.dataBytes) / app.answer.dataBytes,
      failures: Object.fromEntries(tally.failures),
      seconds: (to.atMs - from.atMs) / 1000,
      cpuMicros: to.cpu - from.cpu,
      loadCpuMicros: to.own - from.own,
      memory,
      foreignShare: foreignShare(from, to),
      p50Ms: quantile(sorted, 0.5),
      p99Ms: quantile(sorted, 0.99),
    };
  } finally {
    for (const caller of callers) caller.close();
  }
}

async function warmUp({ warmMs, warmCalls }: Cell, calls: () => number): Promise<void> {
  const until = performance.now() + WARM_MS_MAX;
  await sleep(warmMs);
  while (calls() < warmCalls && performance.now() < until) await sleep(20);
}

type Snapshot = ReturnType<typeof snapshot>;

function foreignShare(from: Snapshot, to: Snapshot): number {
  const foreignMicros = to.busy - from.busy - (to.cpu - from.cpu) - (to.own - from.own);
  return Math.max(0, foreignMicros / ((to.atMs - from.atMs) * 1000 * cpus().length));
}

function snapshot(tally: Tally, pids: readonly number[]) {
  const own = process.cpuUsage();
  return {
    dataBytes: tally.dataBytes,
    cpu: cpuMicros(pids),
    own: own.user + own.system,
    busy: busyMicros(),
    atMs: performance.now(),
  };
}

async function open(
  cell: Cell,
  tls: ConnectionOptions,
  expected: { tally: Tally; answerBytes: number },
): Promise<Caller> {
  const socket = connect({ ...tls, host: '127.0.0.1', port: cell.port });
  socket.setNoDelay(true);
  await once(socket, 'secureConnect', { signal: AbortSignal.timeout(CONNECT_MS_MAX) });
  const caller = new Caller(socket, callFrames(cell.call), expected);
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('no SETTINGS from the proxy')), CONNECT_MS_MAX);
    caller.onReady = () => {
      clearTimeout(late);
      resolve();
    };
  });
  return caller;
}

function startClosed(callers: readonly Caller[], inFlight: number): () => void {
  for (const caller of callers) {
    caller.repeat = true;
    for (let i = 0; i < inFlight; i++) caller.start(0);
    caller.flush();
  }
  return () => {
    for (const caller of callers) caller.repeat = false;
  };
}

/**
 * Calls begin at times drawn beforehand, whatever has become of the earlier ones, and latency counts from those times. The
 * loop spins, so that a call begins when it is due and not at the next tick of a timer.
 */
function startOpen(callers: readonly Caller[], rps: number): () => void {
  const random = pseudoRandom(1);
  let dueMs = performance.now();
  let turn = 0;
  let stopped = false;
  const spin = (): void => {
    if (stopped) return;
    const nowMs = performance.now();
    while (dueMs <= nowMs) {
      const caller = callers[turn++ % callers.length] as Caller;
      caller.start(dueMs);
      caller.flush();
      dueMs -= (Math.log(1 - random()) / rps) * 1000;
    }
    setImmediate(spin);
  };
  spin();
  return () => {
    stopped = true;
  };
}

/** From 0 to below 1; the same sequence every time (xorshift32). */
function pseudoRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

async function drained(callers: readonly Caller[]): Promise<void> {
  const until = performance.now() + DRAIN_MS_MAX;
  while (callers.some((caller) => caller.open > 0) && performance.now() < until) await sleep(10);
}

function quantile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
