/**
 * What does load shedding keep when three times as many calls come as the app can answer, and what does it cost? Two
 * sidecars (egress, mTLS, inbound) before an app that computes 8 calls at once, 100 ms each; calls come in an open loop
 * with a deadline of 1 s, 40 % of low priority, 50 % normal, 10 % high. With shedding and without, in turns.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LoadShedder } from '../src/shed/index.ts';
import { startLimitedApp } from '../test/support/limited-app.ts';
import { type Offered, offer, PRIORITY_OVERLAY, type PriorityName } from '../test/support/open-loop.ts';
import { startTestMesh } from '../test/support/test-mesh.ts';

const PLACES = 8;
const SERVICE_MS = 100;
const OVERLOAD = 3;
const ROUNDS = 3;
const ROUND_MS = 20_000;
const WARM_UP_MS = 5000;
const TIMEOUT_MS = 1000;
const COST_CALLS = 2_000_000;
const COST_ROUNDS = 5;

type Tallies = Readonly<Record<PriorityName, Offered>>;

const quantile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN;
const answeredIn = (tallies: Tallies): number =>
  Object.values(tallies).reduce((sum, { tookMs }) => sum + tookMs.length, 0);

async function round(adaptive: object, perSecond: number): Promise<Tallies> {
  const folder = await mkdtemp(join(tmpdir(), 'gh-shed-'));
  const address = `unix:${join(folder, 'app.sock')}`;
  const app = await startLimitedApp({ address, places: PLACES, serviceMs: SERVICE_MS });
  const mesh = await startTestMesh({ app: address, overlay: PRIORITY_OVERLAY, limits: { adaptive } });
  try {
    const client = mesh.client();
    await offer(client, { perSecond: 40, forMs: 2000, warmUpMs: 0, timeoutMs: TIMEOUT_MS });
    return await offer(client, { perSecond, forMs: ROUND_MS, warmUpMs: WARM_UP_MS, timeoutMs: TIMEOUT_MS });
  } finally {
    await mesh.stop();
    app.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

function report(name: string, rounds: readonly Tallies[], mostPerSecond: number): void {
  const countedSeconds = (ROUND_MS - WARM_UP_MS) / 1000;
  const goodput = quantile(
    rounds.map((tallies) => answeredIn(tallies) / countedSeconds),
    0.5,
  );
  console.log(
    `${name}: ${goodput.toFixed(1)} answered in time per second, ${percent(goodput / mostPerSecond)}`,
  );
  for (const priority of ['high', 'normal', 'low'] as const) {
    const tookMs = rounds.flatMap((tallies) => tallies[priority].tookMs);
    const offered = rounds.reduce((sum, tallies) => sum + tallies[priority].offered, 0);
    const [p50, p99] = [0.5, 0.99].map((share) => quantile(tookMs, share).toFixed(0));
    console.log(
      `  ${priority.padEnd(7)} answered ${percent(tookMs.length / offered).padStart(6)} of ${offered}, p50 ${p50} ms, p99 ${p99} ms`,
    );
  }
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Nanoseconds of one call's entering, being measured and leaving. */
function costNs(): number {
  const limits = { callsMin: 8, waitMsMax: 100, lowSharePercent: 50, normalSharePercent: 75 };
  const rounds = Array.from({ length: COST_ROUNDS }, () => {
    const shedder = new LoadShedder(limits, 10_000);
    const begunAtMs = performance.now();
    for (let call = 0; call < COST_CALLS; call++) {
      const nowMs = call / 100;
      const lane = shedder.laneOf('/testing.echo.v1.EchoService/Unary', nowMs);
      lane.enter({ priority: 'normal', remainingMs: 1000, nowMs });
      lane.measured(1 + (call % 7), nowMs, lane.inFlight);
      lane.leave();
    }
    return ((performance.now() - begunAtMs) * 1e6) / COST_CALLS;
  });
  return quantile(rounds, 0.5);
}

const most = (PLACES / SERVICE_MS) * 1000;
const shedding: Tallies[] = [];
const bare: Tallies[] = [];
for (let each = 0; each < ROUNDS; each++) {
  shedding.push(await round({ enabled: true, callsMin: 4, waitMsMax: 25 }, most * OVERLOAD));
  bare.push(await round({ enabled: false }, most * OVERLOAD));
}
console.log(
  `${most * OVERLOAD} calls a second to an app that can answer ${most}; ${ROUNDS} rounds of ${ROUND_MS / 1000} s each way`,
);
report('without shedding', bare, most);
report('with shedding', shedding, most);
console.log(`cost of a call that goes through: ${costNs().toFixed(0)} ns`);
