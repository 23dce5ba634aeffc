/** What Kubernetes does to a mesh, with processes: pods that start, end, die and are cut off, and slices that say so. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createAuthority } from '@gatehouse/identity';
import { EchoClient } from '@gatehouse/testing';
import { type Client, credentials } from '@grpc/grpc-js';
import { stringify } from 'yaml';
import { type AppProcess, type SidecarProcess, startHostileMesh } from '../hostile/support/hostile-mesh.ts';
import { type PausableProxy, startPausableProxy } from '../hostile/support/pausable-proxy.ts';
import { startApiServer } from '../support/api-server.ts';
import type { EchoClientType } from '../support/calls.ts';
import { clock, spiffe, TRUST_DOMAIN } from '../support/test-mesh.ts';

const SERVICE = 'echo';
const VALID_FOR_MS = 3_600_000;
const READY_MS_MAX = 15_000;
const POLL_MS = 50;
/** As in the chart, shortened: a pod that ends is called for a moment yet, because callers learn of it later. */
const DRAIN_NOTICE_MS = 300;
const DRAIN_MS_MAX = 8_000;
const GRACE_MS = 10_000;
/** A peer that vanished without a word is known to be gone after both. */
const KEEPALIVE = { keepaliveMs: 1_000, keepaliveAnswerMsMax: 500 };

/** An app and the sidecar before it. */
export type Pod = {
  readonly name: string;
  readonly app: AppProcess;
  readonly sidecar: SidecarProcess;
  /** The wire to it. */
  readonly wire: PausableProxy;
};

/** An egress sidecar, and a client that stands for the app beside it. */
export type Caller = { readonly client: EchoClientType; readonly sidecar: SidecarProcess };

export type Cluster = {
  readonly pods: Pod[];
  /** Starts a pod, and shows it to callers once it says that it is ready. */
  startPod(): Promise<Pod>;
  /** As `kubectl delete pod`: its slice says so while its processes are told to end. */
  endPod(pod: Pod): Promise<void>;
  /** Ends its processes at once; the slices learn of it a second later. */
  killPod(pod: Pod): Promise<void>;
  startCaller(): Promise<Caller>;
  /** @returns the exit code of its sidecar */
  endCaller(caller: Caller): Promise<number | null>;
  /** New leaf certificates for everybody, from the CA in use. */
  rotateCertificates(): Promise<void>;
  /** A new CA, as it has to be done: the bundle has both, then leaves change, then the old one goes. */
  rotateAuthority(): Promise<void>;
  writePolicy(version: string, isBroken: boolean): Promise<void>;
  /** The policy versions that the pods have in force. */
  policies(): Promise<readonly string[]>;
  stop(): Promise<void>;
};

export async function startCluster(): Promise<Cluster> {
  const mesh = await startHostileMesh();
  const api = await startApiServer();
  const file = (name: string): string => join(mesh.folder, name);
  const pods: Pod[] = [];
  let authority = mesh.authority;
  let count = 0;

  const show = ({ name, wire }: Pod, ready: boolean): void =>
    api.put(SERVICE, name, {
      endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready, serving: true, terminating: !ready } }],
      ports: [{ name: 'mtls', port: Number(wire.address.split(':')[1]) }],
    });
  const forget = (pod: Pod): void => {
    api.put(SERVICE, pod.name, null);
    pods.splice(pods.indexOf(pod), 1);
  };
  const writeLeaf = async (name: string): Promise<void> => {
    const issued = await authority.issue({ spiffeId: spiffe(name), validForMs: VALID_FOR_MS });
    await writeFile(file(`${name}.key`), issued.keyPem);
    await writeFile(file(`${name}.pem`), issued.certificatePem);
  };
  const rotateCertificates = async (): Promise<void> => {
    await Promise.all(['callee', 'egress'].map(writeLeaf));
    await settled();
  };

  return {
    pods,
    startPod: async () => {
      const name = `echo-${count++}`;
      const app = await mesh.startEcho(name);
      const sidecar = await mesh.startInbound(app.address, {
        ...KEEPALIVE,
        appConnectionsMax: 4,
        drainNoticeMs: DRAIN_NOTICE_MS,
        drainMsMax: DRAIN_MS_MAX,
      });
      const pod = { name, app, sidecar, wire: await startPausableProxy(sidecar.inboundAddress) };
      await untilReady(sidecar);
      pods.push(pod);
      show(pod, true);
      return pod;
    },
    endPod: async (pod) => {
      show(pod, false);
      // The chart: the sidecar drains first, and the app's preStop waits for it.
      await endGently(pod.sidecar.child);
      await endGently(pod.app.child);
      pod.wire.close();
      forget(pod);
    },
    killPod: async (pod) => {
      for (const { child } of [pod.sidecar, pod.app]) child.kill('SIGKILL');
      await delay(1_000);
      pod.wire.close();
      forget(pod);
    },
    startCaller: async () => {
      const socket = `unix:${file(`egress-${count++}.sock`)}`;
      const sidecar = await mesh.startSidecar('egress', {
        limits: { ...KEEPALIVE, drainMsMax: DRAIN_MS_MAX },
        egress: { listen: socket },
        kubernetes: { apiServer: api.url, caFile: api.caFile, tokenFile: api.tokenFile },
        upstreams: [{ name: 'app', identity: spiffe('callee'), service: `prod/${SERVICE}`, port: 'mtls' }],
      });
      await untilReady(sidecar);
      const client = new EchoClient.EchoService(socket, credentials.createInsecure(), {
        'grpc.default_authority': 'app',
      }) as Client as EchoClientType;
      return { client, sidecar };
    },
    endCaller: async ({ client, sidecar }) => {
      client.close();
      await endGently(sidecar.child);
      return sidecar.child.exitCode;
    },
    rotateCertificates,
    rotateAuthority: async () => {
      const next = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: VALID_FOR_MS });
      await writeFile(file('bundle.pem'), authority.bundlePem + next.bundlePem);
      await settled();
      authority = next;
      await rotateCertificates();
      await writeFile(file('bundle.pem'), next.bundlePem);
      await settled();
    },
    writePolicy: (version, isBroken) =>
      writeFile(file('policy.yaml'), policyOf(version, isBroken ? 'echo.no-such-permission' : 'echo.call')),
    policies: () =>
      Promise.all(
        pods.map(async ({ sidecar }) => {
          const { samples } = await sidecar.metrics();
          const version = samples.find(({ name }) => name === 'gatehouse_policy_info')?.labels['version'];
          return version?.split('@')[0] ?? '';
        }),
      ),
    stop: async () => {
      for (const { wire } of pods) wire.close();
      await mesh.stop();
      await api.close();
    },
  };
}

function policyOf(version: string, permission: string): string {
  return stringify({
    version,
    trustDomains: [TRUST_DOMAIN],
    rules: [
      { id: 'callers-may-echo', effect: 'ALLOW', identities: [spiffe('egress')], permissions: [permission] },
    ],
  });
}

/** Files are followed by their changes; what follows them acts within this. */
async function settled(): Promise<void> {
  await delay(1_200);
}

async function untilReady({ telemetryAddress }: SidecarProcess): Promise<void> {
  const until = performance.now() + READY_MS_MAX;
  while (performance.now() < until) {
    const answer = await fetch(`http://${telemetryAddress}/readyz`).catch(() => null);
    if (answer?.ok) return;
    await delay(POLL_MS);
  }
  throw new Error(`a sidecar was not ready within ${READY_MS_MAX} ms`);
}

/** SIGTERM, and SIGKILL after the grace period, which would be a fault. */
async function endGently(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
  await ended;
  clearTimeout(late);
}
