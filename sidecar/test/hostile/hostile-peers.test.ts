import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ErrorCode } from '../../src/http2/error-code.ts';
import { type EchoClientType, run } from '../support/calls.ts';
import {
  type AttackThread,
  attackWhileCalled,
  type Outcome,
  startAttackThread,
} from './support/attack-run.ts';
import type { AttackName } from './support/attacks.ts';
import { type HostileMesh, type SidecarProcess, startHostileMesh } from './support/hostile-mesh.ts';
import { type SteadyClient, startSteadyClient } from './support/steady-client.ts';

/** Each attack goes on for as long; with GATEHOUSE_LONG=1 for ten seconds. */
const IS_LONG = process.env['GATEHOUSE_LONG'] === '1';
const ATTACK_MS = IS_LONG ? 10_000 : 1_200;
const QUIET_MS = 2_000;
const HANDSHAKE_MS_MAX = 1_000;
const SLOW_READER_MS_MAX = 1_000;
const CONNECTIONS_MAX = 80;
const GROWTH_MIB_MAX = 64;
/**
 * Three times the quiet p99, and no less than this: two cores are shared by the attacker, both sides of the good
 * calls and whatever else runs. What the attack costs the machine and not the sidecar shows in a sidecar beside
 * it that nobody attacks, and counts as quiet. Judged in the long form alone: the short one runs beside other test
 * files, and a pause of theirs is a good part of its 1.2 s; it prints what it measured.
 */
const P99_MS_FLOOR = 150;
const P99_FACTOR = 3;

const { PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, ENHANCE_YOUR_CALM, REFUSED_STREAM } = ErrorCode;
const SETTINGS_TIMEOUT = 4;

let mesh: HostileMesh;
let sidecar: SidecarProcess;
let steady: SteadyClient;
let control: SteadyClient;
let thread: AttackThread;
let quietMiB = 0;
let quietP99Ms = 0;
let attackers = 0;
const rows: Record<string, unknown>[] = [];

beforeAll(async () => {
  mesh = await startHostileMesh();
  const [app, calmApp] = await Promise.all([mesh.startQuickApp('app'), mesh.startQuickApp('calm')]);
  const limits = {
    handshakeMsMax: HANDSHAKE_MS_MAX,
    slowReaderMsMax: SLOW_READER_MS_MAX,
    connectionsMax: CONNECTIONS_MAX,
  };
  const [attacked, calm] = await Promise.all([
    mesh.startInbound(app.address, limits),
    mesh.startInbound(calmApp.address, limits),
  ]);
  sidecar = attacked;
  thread = await startAttackThread();
  steady = startSteadyClient(await mesh.clientOf(sidecar, 'good'), 5);
  control = startSteadyClient(await mesh.clientOf(calm, 'good'), 10);
  await vi.waitFor(() => expect(steady.report().calls).toBeGreaterThan(100), {
    timeout: 20_000,
    interval: 20,
  });
  await warmUp(await mesh.clientOf(sidecar, 'good'));
  steady.reset();
  await vi.waitFor(() => expect(steady.report().calls).toBeGreaterThan(QUIET_MS / 8), { timeout: 20_000 });
  quietP99Ms = steady.report().p99Ms;
  quietMiB = await sidecar.residentMiB();
}, 60_000);

afterAll(async () => {
  const ends = await Promise.all([steady.stop(), control.stop()]);
  await thread.stop();
  await mesh.stop();
  console.table(rows);
  expect(ends.map(({ failures }) => failures)).toEqual([[], []]);
});

/** Busy as it is meant to be: code is compiled and the heap has its size before anything is compared with it. */
async function warmUp(client: EchoClientType): Promise<void> {
  for (let round = 0; round < 60; round++)
    await Promise.all(Array.from({ length: 50 }, () => run(client, 'unary', [{ text: 'warm' }])));
}

async function attack(
  name: AttackName,
  { durationMs = ATTACK_MS, connections = 1 }: { durationMs?: number; connections?: number } = {},
): Promise<Outcome> {
  const target = await mesh.targetOf(sidecar, `attacker/${attackers++}`);
  control.reset();
  const outcome = await attackWhileCalled(
    () => thread.attack({ attack: name, target, durationMs, connections }),
    { sidecar, steady, quietMiB },
  );
  const cutOffMs = outcome.cutOffMs.toSorted((a, b) => a - b);
  rows.push({
    attack: name,
    'cut off by': JSON.stringify(outcome.goaways),
    resets: JSON.stringify(outcome.resets),
    violations: JSON.stringify(outcome.violations),
    'peers refused': JSON.stringify(outcome.refusedPeers),
    'to cut-off, ms': Math.round(cutOffMs[0] ?? Number.NaN),
    'p99 quiet/control/good, ms': [quietP99Ms, control.report().p99Ms, outcome.good.p99Ms]
      .map(Math.round)
      .join(' / '),
    calls: outcome.good.calls,
    'MiB over quiet': Math.round(outcome.growthMiB),
  });
  return outcome;
}

/** What holds under every attack: nobody else notices much. */
function expectOthersUnharmed({ good, growthMiB }: Outcome): void {
  expect(good.failures).toEqual([]);
  expect(good.calls).toBeGreaterThan(10);
  if (IS_LONG) {
    const calmP99Ms = Math.max(quietP99Ms, control.report().p99Ms);
    expect(good.p99Ms).toBeLessThan(Math.max(P99_FACTOR * calmP99Ms, P99_MS_FLOOR));
  }
  expect(growthMiB).toBeLessThan(GROWTH_MIB_MAX);
}

describe('a peer with a valid certificate is cut off, and others go on, when it sends', () => {
  test.each<[AttackName, number, string, number?]>([
    ['rapid reset', ENHANCE_YOUR_CALM, 'reset-flood'],
    ['provoked resets', ENHANCE_YOUR_CALM, 'provoked-reset-flood'],
    ['continuations without end', ENHANCE_YOUR_CALM, 'continuation-flood'],
    ['large continuations without end', ENHANCE_YOUR_CALM, 'continuation-flood'],
    ['PING', ENHANCE_YOUR_CALM, 'ping-flood'],
    ['SETTINGS', ENHANCE_YOUR_CALM, 'settings-flood'],
    ['empty DATA', ENHANCE_YOUR_CALM, 'empty-data-flood'],
    ['RST_STREAM on one stream', ENHANCE_YOUR_CALM, 'reset-flood'],
    ['PRIORITY', ENHANCE_YOUR_CALM, 'idle-frame-flood'],
    ['unknown frames', ENHANCE_YOUR_CALM, 'idle-frame-flood'],
    ['WINDOW_UPDATE on the connection', ENHANCE_YOUR_CALM, 'idle-frame-flood'],
    ['WINDOW_UPDATE on a stream', ENHANCE_YOUR_CALM, 'idle-frame-flood'],
    ['one byte of window at a time', ENHANCE_YOUR_CALM, 'idle-frame-flood'],
    ['fields without name and value', ENHANCE_YOUR_CALM, 'header-list-too-large'],
    ['HPACK bomb', ENHANCE_YOUR_CALM, 'header-list-too-large'],
    ['header lists over the limit', ENHANCE_YOUR_CALM, 'header-list-too-large', ENHANCE_YOUR_CALM],
    ['an overflow of the connection’s window', FLOW_CONTROL_ERROR, 'flow-control'],
    ['an overflow of a stream’s window', ENHANCE_YOUR_CALM, 'flow-control', FLOW_CONTROL_ERROR],
    ['frames over the size', FRAME_SIZE_ERROR, 'frame-size'],
    ['smuggling shapes', ENHANCE_YOUR_CALM, 'malformed-message', PROTOCOL_ERROR],
    ['more streams than allowed', ENHANCE_YOUR_CALM, 'too-many-streams', REFUSED_STREAM],
    ['stream ids used up', ENHANCE_YOUR_CALM, 'idle-frame-flood'],
    ['HTTP/1', PROTOCOL_ERROR, 'protocol'],
  ])('%s', async (name, code, kind, resetCode) => {
    const outcome = await attack(name);
    expectOthersUnharmed(outcome);
    expect(outcome.goaways[code]).toBeGreaterThan(0);
    expect(outcome.violations[kind]).toBeGreaterThan(0);
    if (resetCode !== undefined) expect(outcome.resets[resetCode]).toBeGreaterThan(0);
    // Whoever floods and dials again stays outside for a while, longer each time.
    if (code === ENHANCE_YOUR_CALM) {
      expect(outcome.refusedPeers['QUARANTINED']).toBeGreaterThan(0);
      expect(outcome.goaways[code]).toBeLessThan(6);
    }
  });
});

describe('nobody else is harmed by a peer that stays within the limits of the protocol, with', () => {
  test.each<[AttackName]>([
    ['rapid reset under the limit'],
    ['opening and leaving'],
    ['data in single bytes'],
  ])('%s', async (name) => {
    const outcome = await attack(name);
    expectOthersUnharmed(outcome);
    expect(outcome.connections).toBeGreaterThan(0);
  });

  test.each<[AttackName]>([['downloads that are not read'], ['downloads that are not read, with deadlines']])(
    '%s, and it loses its streams',
    async (name) => {
      const outcome = await attack(name, { durationMs: Math.max(ATTACK_MS, 3 * SLOW_READER_MS_MAX) });
      expectOthersUnharmed(outcome);
      expect(outcome.violations['slow-reader']).toBeGreaterThan(0);
    },
  );
});

describe('time runs out for', () => {
  /** The default time-outs of HTTP/2 are ten seconds, so all of these run at once. */
  const SLOW_MS = 11_000;
  const SLOW_CONNECTIONS = 3;

  test('no preface, a slow preface, SETTINGS not acknowledged, half a header block, half a frame', async () => {
    const slow: readonly [AttackName, number, string][] = [
      ['no preface', SETTINGS_TIMEOUT, 'preface-timeout'],
      ['a preface in single bytes', SETTINGS_TIMEOUT, 'preface-timeout'],
      ['no acknowledgement of SETTINGS', SETTINGS_TIMEOUT, 'settings-timeout'],
      ['half a header block', ENHANCE_YOUR_CALM, 'slow-header-block'],
      ['half a HEADERS frame', ENHANCE_YOUR_CALM, 'slow-header-block'],
    ];
    const threads = await Promise.all(slow.map(() => startAttackThread()));
    const targets = await Promise.all(slow.map(() => mesh.targetOf(sidecar, `attacker/${attackers++}`)));
    control.reset();
    const reports = await Promise.all(
      slow.map(([name], i) =>
        i === 0
          ? attackWhileCalled(() => orderSlow(i, name), { sidecar, steady, quietMiB })
          : orderSlow(i, name),
      ),
    );
    function orderSlow(i: number, name: AttackName) {
      const target = targets[i] as NonNullable<(typeof targets)[number]>;
      const order = { attack: name, target, durationMs: SLOW_MS, connections: SLOW_CONNECTIONS };
      return (threads[i] as AttackThread).attack(order);
    }
    await Promise.all(threads.map((each) => each.stop()));
    const [first] = reports;
    expectOthersUnharmed(first as Outcome);
    const { violations } = first as Outcome;
    for (const [i, [name, code, kind]] of slow.entries()) {
      const { goaways, cutOffMs } = reports[i] as Outcome;
      expect.soft(goaways[code], name).toBeGreaterThanOrEqual(SLOW_CONNECTIONS);
      expect.soft(violations[kind], kind).toBeGreaterThanOrEqual(SLOW_CONNECTIONS);
      expect.soft(Math.max(...cutOffMs.slice(0, SLOW_CONNECTIONS)), name).toBeLessThan(11_500);
    }
  }, 30_000);

  test('a handshake that is not finished', async () => {
    const { host, port } = await mesh.targetOf(sidecar, 'attacker/slow');
    const before = await sidecar.metrics();
    const startedAtMs = performance.now();
    const ends = Array.from({ length: 20 }, (_, i) => {
      const socket = connect({ host, port });
      // Half of them send the beginning of a ClientHello.
      if (i % 2 === 0) socket.write(Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1]));
      socket.on('error', () => {});
      socket.resume();
      return new Promise<number>((resolve) => {
        socket.once('close', () => resolve(performance.now() - startedAtMs));
      });
    });
    expect(Math.max(...(await Promise.all(ends)))).toBeLessThan(3 * HANDSHAKE_MS_MAX);
    const failed = { reason: 'HANDSHAKE_FAILED' };
    const after = await sidecar.metrics();
    const count = (metrics: typeof after): number =>
      metrics.samples
        .filter(
          ({ name, labels }) =>
            name === 'gatehouse_peers_refused_total' && labels['reason'] === failed.reason,
        )
        .reduce((sum, { value }) => sum + value, 0);
    expect(count(after) - count(before)).toBe(20);
  });
});

test('connections over the limit are closed before their handshake, and those that are there go on', async () => {
  // As many handshakes take a while on a machine that has other work.
  const durationMs = Math.max(ATTACK_MS, 5_000);
  const outcome = await attack('idle connections', { connections: CONNECTIONS_MAX + 20, durationMs });
  expectOthersUnharmed(outcome);
  expect(outcome.turnedAway).toBeGreaterThan(0);
  expect(outcome.refusedPeers['TOO_MANY_CONNECTIONS']).toBeGreaterThan(0);
});
