/** Attacks from a thread of its own, so that the well-behaved client of the test keeps its own time. */
import { setTimeout as delay } from 'node:timers/promises';
import { parentPort } from 'node:worker_threads';
import { attacks } from './attacks.ts';
import type { Target } from './hostile-mesh.ts';
import { RawAttacker } from './raw-attacker.ts';

export type AttackOrder = {
  readonly attack: string;
  readonly target: Target;
  readonly durationMs: number;
  /** Connections at the same time. Default 1. */
  readonly connections?: number;
};

export type AttackReport = {
  readonly connections: number;
  /** Connections that were turned away before HTTP/2. */
  readonly turnedAway: number;
  /** Milliseconds from the first byte to each cut-off. */
  readonly cutOffMs: readonly number[];
  /** Cut-offs by the error code of GOAWAY; `none` where the socket was closed without. */
  readonly goaways: Readonly<Record<string, number>>;
  /** Streams reset, by error code. */
  readonly resets: Readonly<Record<string, number>>;
};

type Tally = {
  connections: number;
  turnedAway: number;
  cutOffMs: number[];
  goaways: Record<string, number>;
  resets: Record<string, number>;
};

/** A peer that was turned away comes back after this time; one that was cut off comes back at once. */
const TURNED_AWAY_MS = 20;
/** Connections are begun one after the other: a handshake keeps a core busy for a millisecond or two. */
const START_MS = 10;

async function attackUntil(endsAtMs: number, order: AttackOrder, tally: Tally): Promise<void> {
  const attack = attacks[order.attack];
  if (attack === undefined) throw new Error(`no attack ${order.attack}`);
  while (performance.now() < endsAtMs) {
    tally.connections++;
    const peer = await RawAttacker.connect(order.target);
    if (peer === null) {
      tally.turnedAway++;
      await delay(TURNED_AWAY_MS);
      continue;
    }
    const startedAtMs = performance.now();
    const timeUp = new AbortController();
    const rest = delay(Math.max(0, endsAtMs - startedAtMs), undefined, { signal: timeUp.signal });
    const attacking = attack(peer).then(() => peer.ended);
    await Promise.race([attacking, peer.ended, rest.catch(() => {})]);
    timeUp.abort();
    if (peer.over) {
      tally.cutOffMs.push(performance.now() - startedAtMs);
      const code = String(peer.goawayCode ?? 'none');
      tally.goaways[code] = (tally.goaways[code] ?? 0) + 1;
    }
    for (const [code, count] of peer.resets) tally.resets[code] = (tally.resets[code] ?? 0) + count;
    peer.destroy();
    if (peer.goawayCode === null) await delay(TURNED_AWAY_MS);
  }
}

parentPort?.on('message', (order: AttackOrder) => {
  const tally: Tally = { connections: 0, turnedAway: 0, cutOffMs: [], goaways: {}, resets: {} };
  const endsAtMs = performance.now() + order.durationMs;
  const all = Array.from({ length: order.connections ?? 1 }, async (_, i) => {
    await delay(i * START_MS);
    await attackUntil(endsAtMs, order, tally);
  });
  void Promise.all(all).then(() => parentPort?.postMessage(tally satisfies AttackReport));
});
parentPort?.postMessage('ready');
