/** A real Kubernetes API server with its etcd, as two processes on loopback: no nodes, no controllers, so that pods never run. */
import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { freePort } from '../../../../sidecar/test/conformance/support/free-port.ts';
import { type HelmRun, runHelm } from './helm.ts';

/** It was seen to take over a minute beside other work. */
const READY_MS_MAX = 180_000;
/** Each time is a run of kubectl. */
const POLL_MS = 500;
const ADMIN_TOKEN = 'administrator';
/** Nobody's (RFC 5737): it is only written down, and a loopback address is not taken for it. */
const ADVERTISED = '192.0.2.1';

/** A request to the API server, as its audit log has it. */
type AuditEvent = {
  /** A watch has ResponseStarted and, when it ends, ResponseComplete; the others have the second. */
  readonly stage: 'ResponseStarted' | 'ResponseComplete';
  readonly verb: string;
  readonly requestURI: string;
  readonly userAgent: string;
  readonly user: { readonly username: string };
  readonly responseStatus?: { readonly code: number };
};

export type ApiServer = {
  readonly url: string;
  readonly caFile: string;
  /** An administrator's. */
  readonly kubeconfig: string;
  /** Runs kubectl as the administrator. @param input for `-f -` */
  kubectl(args: readonly string[], input?: string): Promise<HelmRun>;
  /** As `kubectl`. @throws what it complained of */
  must(args: readonly string[], input?: string): Promise<string>;
  /** What has been asked about EndpointSlices. */
  audit(): Promise<AuditEvent[]>;
  /** SIGKILL; what is stored stays. */
  kill(): Promise<void>;
  /** At the same address as before. */
  start(): Promise<void>;
  /** Forgets all revisions but the present one. */
  compact(): Promise<void>;
  close(): Promise<void>;
};

export type ApiServerTools = { readonly kubectl: string; readonly kubernetes: string };

/** @throws when it is not ready in time, with what it said last */
export async function startApiServer({ kubectl, kubernetes }: ApiServerTools): Promise<ApiServer> {
  const folder = await mkdtemp(join(tmpdir(), 'gh-kube-'));
  const at = (name: string): string => join(folder, name);
  const children: ChildProcess[] = [];
  try {
    const [port, etcdPort, peerPort] = [await freePort(), await freePort(), await freePort()];
    const url = `https://127.0.0.1:${port}`;
    const etcdUrl = `http://127.0.0.1:${etcdPort}`;
    const [caFile, kubeconfig] = [at('certs/apiserver.crt'), at('kubeconfig')];
    await writeFiles({ folder, url, caFile });
    const launch = (program: string, args: readonly string[]): ChildProcess => {
      const log = openSync(at(`${program}.log`), 'a');
      const child = spawn(join(kubernetes, program), args, { cwd: folder, stdio: ['ignore', log, log] });
      children.push(child);
      return child;
    };
    const run = (args: readonly string[], input?: string) =>
      runHelm(kubectl, ['--kubeconfig', kubeconfig, '--cache-dir', at('cache'), ...args], input);
    const must = async (args: readonly string[], input?: string): Promise<string> => {
      const { code, out, err } = await run(args, input);
      if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${err}`);
      return out;
    };
    launch('etcd', etcdArgs({ folder, etcdUrl, peerUrl: `http://127.0.0.1:${peerPort}` }));
    let server: ChildProcess | undefined;
    const start = async (): Promise<void> => {
      server = launch('kube-apiserver', apiServerArgs({ folder, port, etcdUrl }));
      const ends = performance.now() + READY_MS_MAX;
      while ((await run(['get', '--raw', '/readyz'])).code !== 0) {
        if (server.exitCode !== null || performance.now() > ends)
          throw new Error(
            `no API server: ${(await readFile(at('kube-apiserver.log'), 'utf8')).slice(-2_000)}`,
          );
        await delay(POLL_MS);
      }
    };
    const close = async (): Promise<void> => {
      await Promise.all(children.map(ended));
      await rm(folder, { recursive: true, force: true });
    };
    await start();
    return {
      url,
      caFile,
      kubeconfig,
      kubectl: run,
      must,
      audit: async () =>
        (await readFile(at('audit.log'), 'utf8').catch(() => ''))
          .split('\n')
          .slice(0, -1)
          .map((line) => JSON.parse(line) as AuditEvent),
      kill: async () => {
        if (server !== undefined) await ended(server);
      },
      start,
      compact: () => compact(etcdUrl),
      close,
    };
  } catch (error) {
    await Promise.all(children.map(ended));
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

type Layout = { readonly folder: string; readonly url: string; readonly caFile: string };

async function writeFiles({ folder, url, caFile }: Layout): Promise<void> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const files: Readonly<Record<string, string>> = {
    'accounts.key': privateKey.export({ type: 'sec1', format: 'pem' }),
    'tokens.csv': `${ADMIN_TOKEN},administrator,administrator,system:masters\n`,
    'audit.yaml': stringify({
      apiVersion: 'audit.k8s.io/v1',
      kind: 'Policy',
      omitStages: ['RequestReceived'],
      rules: [
        { level: 'Metadata', resources: [{ group: 'discovery.k8s.io', resources: ['endpointslices'] }] },
        { level: 'None' },
      ],
    }),
    kubeconfig: stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'administrator' } }],
      clusters: [{ name: 'test', cluster: { server: url, 'certificate-authority': caFile } }],
      users: [{ name: 'administrator', user: { token: ADMIN_TOKEN } }],
    }),
  };
  for (const [name, text] of Object.entries(files))
    await writeFile(join(folder, name), text, { mode: 0o600 });
}

type EtcdOptions = { readonly folder: string; readonly etcdUrl: string; readonly peerUrl: string };

function etcdArgs({ folder, etcdUrl, peerUrl }: EtcdOptions): string[] {
  return [
    `--data-dir=${folder}/etcd`,
    `--listen-client-urls=${etcdUrl}`,
    `--advertise-client-urls=${etcdUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=default=${peerUrl}`,
    '--unsafe-no-fsync',
    '--log-level=error',
  ];
}

type ServerOptions = { readonly folder: string; readonly port: number; readonly etcdUrl: string };

function apiServerArgs({ folder, port, etcdUrl }: ServerOptions): string[] {
  return [
    `--etcd-servers=${etcdUrl}`,
    '--etcd-compaction-interval=0',
    '--bind-address=127.0.0.1',
    `--secure-port=${port}`,
    `--advertise-address=${ADVERTISED}`,
    '--endpoint-reconciler-type=none',
    // It signs for itself, and a restart finds the same certificate.
    `--cert-dir=${folder}/certs`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-signing-key-file=${folder}/accounts.key`,
    `--service-account-key-file=${folder}/accounts.key`,
    '--service-cluster-ip-range=10.96.0.0/16',
    '--authorization-mode=RBAC',
    `--token-auth-file=${folder}/tokens.csv`,
    `--audit-policy-file=${folder}/audit.yaml`,
    `--audit-log-path=${folder}/audit.log`,
    '--audit-log-mode=blocking',
    '--profiling=false',
  ];
}

/** Over etcd's JSON gateway: the present revision, and an end to all before it. */
async function compact(etcdUrl: string): Promise<void> {
  const ask = async (path: string, body: object): Promise<unknown> => {
    const response = await fetch(`${etcdUrl}/v3/${path}`, { method: 'POST', body: JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`etcd ${path}: ${text}`);
    return JSON.parse(text);
  };
  const { header } = (await ask('maintenance/status', {})) as {
    readonly header: { readonly revision: string };
  };
  await ask('kv/compaction', { revision: header.revision, physical: true });
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}
