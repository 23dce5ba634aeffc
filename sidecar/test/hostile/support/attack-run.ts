import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { AttackOrder, AttackReport } from './attack-worker.ts';
import type { AttackName } from './attacks.ts';
import type { SidecarProcess } from './hostile-mesh.ts';
import type { SteadyClient, SteadyReport } from './steady-client.ts';

/** A thread that attacks on order, one attack after the other. */
export type AttackThread = {
  attack(order: AttackOrder & { readonly attack: AttackName }): Promise<AttackReport>;
  stop(): Promise<void>;
};

export async function startAttackThread(): Promise<AttackThread> {
  const worker = new Worker(new URL('./attack-worker.ts', import.meta.url));
  await once(worker, 'message');
  return {
    attack: async (order) => {
      const answer = once(worker, 'message');
      worker.postMessage(order);
      const [report] = (await answer) as [AttackReport];
      return report;
    },
    stop: async () => {
      await worker.terminate();
    },
  };
}

/** What an attack did to everybody else. */
export type Outcome = AttackReport & {
  /** How often each kind of violation was counted meanwhile. */
  readonly violations: Readonly<Record<string, number>>;
  readonly refusedPeers: Readonly<Record<string, number>>;
  readonly good: SteadyReport;
  /** The most that the process had above its quiet size, in MiB. */
  readonly growthMiB: number;
};

const SAMPLE_MS = 200;

/** Attacks while somebody else calls, and looks at the sidecar's memory all the time. */
export async function attackWhileCalled(
  attacking: () => Promise<AttackReport>,
  { sidecar, steady, quietMiB }: { sidecar: SidecarProcess; steady: SteadyClient; quietMiB: number },
): Promise<Outcome> {
  const before = await countsOf(sidecar);
  steady.reset();
  let mostMiB = 0;
  const look = async (): Promise<void> => {
    mostMiB = Math.max(mostMiB, await sidecar.residentMiB());
  };
  const looking = setInterval(() => void look(), SAMPLE_MS);
  const report = await attacking().finally(() => clearInterval(looking));
  const good = steady.report();
  await look();
  const after = await countsOf(sidecar);
  return {
    ...report,
    good,
    growthMiB: mostMiB - quietMiB,
    violations: difference(after.violations, before.violations),
    refusedPeers: difference(after.refusedPeers, before.refusedPeers),
  };
}

type Counts = Readonly<Record<string, number>>;

async function countsOf(sidecar: SidecarProcess): Promise<{ violations: Counts; refusedPeers: Counts }> {
  const { samples } = await sidecar.metrics();
  const of = (name: string, label: string): Counts =>
    Object.fromEntries(
      samples
        .filter((each) => each.name === name && each.labels['direction'] === 'inbound')
        .map(({ labels, value }) => [labels[label] ?? '', value]),
    );
  return {
    violations: of('gatehouse_http2_violations_total', 'kind'),
    refusedPeers: of('gatehouse_peers_refused_total', 'reason'),
  };
}

function difference(after: Counts, before: Counts): Counts {
  return Object.fromEntries(
    Object.entries(after)
      .map(([key, value]): [string, number] => [key, value - (before[key] ?? 0)])
      .filter(([, value]) => value !== 0),
  );
}
