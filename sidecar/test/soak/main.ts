/**
 * The long run: `node sidecar/test/soak/main.ts --minutes N [--rate R]`.
 *
 * Half of the largest rate through egress and inbound sidecar (processes), with connections that come and go and
 * certificates that change every 20 s. Prints a line a minute; ends with 1 when a call failed, memory grew after the
 * first minute, or file descriptors or timers did not come back to where they began.
 */
import { readdir } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type HostileMesh, type SidecarProcess, startHostileMesh } from '../hostile/support/hostile-mesh.ts';
import { churn, type Load, largestRate, startLoad } from './load.ts';

const ROTATION_MS = 20_000;
const MINUTE_MS = 60_000;
/** What memory may grow by after the first minute: a heap breathes. */
const GROWTH_MIB_MAX = 32;
/** Sockets that linger, and what the admin view of a moment takes. */
const DESCRIPTORS_MAX = 4;
const TIMERS_MAX = 2;
const SETTLE_MS = 8_000;

const { values } = parseArgs({ options: { minutes: { type: 'string' }, rate: { type: 'string' } } });
const minutes = Number(values.minutes ?? 10);
if (!(minutes > 0)) {
  process.stderr.write('soak: expected --minutes N [--rate R], both above 0\n');
  process.exit(1);
}

type Use = { readonly rssMiB: number; readonly descriptors: number; readonly timers: number };

async function useOf(sidecar: SidecarProcess): Promise<Use> {
  const descriptors = await readdir(`/proc/${sidecar.child.pid}/fd`).then(
    (entries) => entries.length,
    () => Number.NaN,
  );
  return { rssMiB: await sidecar.residentMiB(), descriptors, timers: await sidecar.probe() };
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const show = ({ rssMiB, descriptors, timers }: Use): string =>
  `${rssMiB.toFixed(0)} MiB, ${descriptors} descriptors, ${timers} timers`;

/** @returns what is wrong with it */
async function soak(mesh: HostileMesh): Promise<string[]> {
  const app = await mesh.startQuickApp('app');
  const inbound = await mesh.startInbound(app.address);
  const egress = await mesh.startEgress({ app: [inbound.inboundAddress] });
  const sides = { inbound, egress };
  const client = () => mesh.egressClient('app');
  const rate = values.rate === undefined ? (await largestRate(client)) / 2 : Number(values.rate);
  say(`rate: ${Math.round(rate)} calls a second`);
  await delay(SETTLE_MS);
  const before = { inbound: await useOf(inbound), egress: await useOf(egress) };
  say(`before: inbound ${show(before.inbound)}; egress ${show(before.egress)}`);

  const load = startLoad(client(), rate);
  const stopChurn = churn(() => mesh.clientOf(inbound, 'good'), client, load);
  const rotation = setInterval(() => {
    void Promise.all(['callee', 'egress'].map((name) => mesh.writeIdentity(name)));
  }, ROTATION_MS);
  const after1 = await everyMinute(sides, load);
  clearInterval(rotation);
  await stopChurn();
  await load.stop();
  await delay(SETTLE_MS);

  const after = { inbound: await useOf(inbound), egress: await useOf(egress) };
  say(`after: inbound ${show(after.inbound)}; egress ${show(after.egress)}`);
  say(`calls: ${load.calls}, failed: ${load.failures.length}`);
  const wrong = load.failures.slice(0, 5).map((each) => `a call failed: ${each}`);
  for (const side of ['inbound', 'egress'] as const) {
    const [from, to, first] = [before[side], after[side], after1[side]];
    if (to.descriptors - from.descriptors > DESCRIPTORS_MAX)
      wrong.push(`${side}: descriptors were not given back`);
    if (to.timers - from.timers > TIMERS_MAX) wrong.push(`${side}: timers were not given back`);
    if (first.last - first.afterFirst > GROWTH_MIB_MAX)
      wrong.push(`${side}: memory grew from ${first.afterFirst.toFixed(0)} to ${first.last.toFixed(0)} MiB`);
  }
  return wrong;
}

type Growth = { afterFirst: number; last: number };

async function everyMinute(
  sides: Record<'inbound' | 'egress', SidecarProcess>,
  load: Load,
): Promise<Record<'inbound' | 'egress', Growth>> {
  const growth = { inbound: { afterFirst: 0, last: 0 }, egress: { afterFirst: 0, last: 0 } };
  for (let minute = 1; minute <= Math.ceil(minutes); minute++) {
    await delay(Math.min(1, minutes - minute + 1) * MINUTE_MS);
    for (const side of ['inbound', 'egress'] as const) {
      const mib = await sides[side].residentMiB();
      if (minute === 1) growth[side].afterFirst = mib;
      growth[side].last = mib;
    }
    const { inbound, egress } = growth;
    const memory = `inbound ${inbound.last.toFixed(0)} MiB, egress ${egress.last.toFixed(0)} MiB`;
    say(`minute ${minute}: ${load.calls} calls, ${load.failures.length} failed, ${memory}`);
  }
  return growth;
}

const mesh = await startHostileMesh(new URL('./timer-probe.ts', import.meta.url).href);
const wrong: string[] = [];
try {
  wrong.push(...(await soak(mesh)));
} finally {
  await mesh.stop();
}
for (const each of wrong) say(`VIOLATED ${each}`);
say(wrong.length === 0 ? 'all bounds held' : `${wrong.length} bounds violated`);
process.exit(wrong.length === 0 ? 0 : 1);
