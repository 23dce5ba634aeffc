import { setTimeout as delay } from 'node:timers/promises';
import type { Caller, Cluster, Pod } from './cluster.ts';
import type { CallResult, ConstantLoad } from './constant-load.ts';

/** What a scenario works with. */
export type Stage = {
  readonly cluster: Cluster;
  readonly load: ConstantLoad;
  /** The caller that the load goes through. */
  caller: Caller;
  /** How long each state is held: longer in the long form. */
  readonly holdMs: number;
};

export type Scenario = {
  readonly name: string;
  /** Of a planned change no call may fail. */
  readonly planned: boolean;
  /** Makes it happen. For a fault: gives the moment from which on a call that begins may not fail any more. */
  readonly run: (stage: Stage) => Promise<{
    /** What it says of itself beside its calls. */ readonly note?: string;
    readonly recoveredAtMs?: number;
  }>;
  /** Whether a failure is one that a fault may cause. */
  readonly excuses?: (result: CallResult, faultAtMs: number) => boolean;
};

/** From when an endpoint that hung or was cut off to when no call goes there any more. */
const CUT_REACTION_MS = 3_500;
const KILL_REACTION_MS = 250;

const firstPod = ({ pods }: Cluster): Pod => {
  const [pod] = pods;
  if (pod === undefined) throw new Error('the cluster has no pod');
  return pod;
};

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'rolling restart of every pod, app and sidecar',
    planned: true,
    run: async ({ cluster, holdMs }) => {
      const before = cluster.pods.slice();
      for (const pod of before) {
        await cluster.startPod();
        await delay(holdMs);
        await cluster.endPod(pod);
      }
      return { note: `${before.length} pods` };
    },
  },
  {
    name: 'rolling restart of the caller’s sidecar',
    planned: true,
    run: async (stage) => {
      const old = stage.caller;
      stage.caller = await stage.cluster.startCaller();
      stage.load.client = stage.caller.client;
      await delay(stage.holdMs);
      const code = await stage.cluster.endCaller(old);
      if (code !== 0) throw new Error(`the caller's sidecar ended with ${code}`);
      return {};
    },
  },
  {
    name: 'new certificates for everybody',
    planned: true,
    run: async ({ cluster, holdMs }) => {
      for (let times = 0; times < 2; times++) {
        await cluster.rotateCertificates();
        await delay(holdMs);
      }
      return {};
    },
  },
  {
    name: 'a new CA: both in the bundle, new leaves, the old one out',
    planned: true,
    run: async ({ cluster, holdMs }) => {
      await cluster.rotateAuthority();
      await delay(holdMs);
      return {};
    },
  },
  {
    name: 'a new policy, a broken one, and another',
    planned: true,
    run: async ({ cluster, holdMs }) => {
      for (const [version, isBroken] of [
        ['v2', false],
        ['broken', true],
        ['v3', false],
      ] as const) {
        await cluster.writePolicy(version, isBroken);
        await delay(1_000 + holdMs);
        const inForce = await cluster.policies();
        const expected = isBroken ? 'v2' : version;
        if (inForce.some((each) => each !== expected))
          throw new Error(`after ${version} the policies in force are ${inForce.join(', ')}`);
      }
      return {};
    },
  },
  {
    name: 'scaled from 1 to 4 pods and back',
    planned: true,
    run: async ({ cluster, holdMs }) => {
      for (const pod of cluster.pods.slice(1)) await cluster.endPod(pod);
      while (cluster.pods.length < 4) await cluster.startPod();
      await delay(holdMs);
      while (cluster.pods.length > 1) await cluster.endPod(firstPod(cluster));
      await delay(holdMs);
      await cluster.startPod();
      return {};
    },
  },
  {
    name: 'a Job that calls and finishes',
    planned: true,
    run: async ({ cluster, load }) => {
      const job = await cluster.startCaller();
      const before = load.client;
      load.client = job.client;
      await delay(500);
      load.client = before;
      await load.quiet();
      const startedAtMs = performance.now();
      const code = await cluster.endCaller(job);
      if (code !== 0) throw new Error(`the Job's sidecar ended with ${code}`);
      return { note: `its sidecar ended ${Math.round(performance.now() - startedAtMs)} ms after it` };
    },
  },
  {
    name: 'an endpoint killed with SIGKILL',
    planned: false,
    run: async ({ cluster, holdMs }) => {
      const killedAtMs = performance.now();
      await cluster.killPod(firstPod(cluster));
      await delay(holdMs);
      await cluster.startPod();
      return { recoveredAtMs: killedAtMs + KILL_REACTION_MS };
    },
    excuses: ({ kind, hadHead }) => kind !== 'repeatable' || hadHead,
  },
  {
    name: 'an endpoint cut off from the network',
    planned: false,
    run: async ({ cluster, holdMs }) => {
      const pod = firstPod(cluster);
      const cutAtMs = performance.now();
      pod.wire.cut();
      await delay(CUT_REACTION_MS + holdMs);
      await cluster.killPod(pod);
      await cluster.startPod();
      return { recoveredAtMs: cutAtMs + CUT_REACTION_MS };
    },
    excuses: () => true,
  },
  {
    name: 'an endpoint whose app hangs',
    planned: false,
    run: async ({ cluster, holdMs }) => {
      const pod = firstPod(cluster);
      const hungAtMs = performance.now();
      pod.app.child.kill('SIGSTOP');
      await delay(CUT_REACTION_MS + holdMs);
      pod.app.child.kill('SIGCONT');
      return { recoveredAtMs: hungAtMs + CUT_REACTION_MS };
    },
    excuses: () => true,
  },
];
