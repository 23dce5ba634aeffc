import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Authority, type Credentials, createAuthority } from '@gatehouse/identity';
import { ECHO_OVERLAY_FILE, EchoClient, echoDescriptorSet } from '@gatehouse/testing';
import { type Client, credentials } from '@grpc/grpc-js';
import { stringify } from 'yaml';
import startOptions from '../../../start-options.json' with { type: 'json' };
import type { EchoClientType } from '../../support/calls.ts';
import { type Metrics, readMetrics } from '../../support/read-metrics.ts';
import { clock, spiffe, TLS_OPTIONS, TRUST_DOMAIN } from '../../support/test-mesh.ts';

const fileOf = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const SIDECAR_MAIN = fileOf('../../../src/main.ts');
const ECHO_MAIN = fileOf('../../../../libs/testing/src/main.ts');
const QUICK_APP_MAIN = fileOf('../quick-app/main.ts');
const VALID_FOR_MS = 3_600_000;

const POLICY = stringify({
  version: 'hostile-1',
  trustDomains: [TRUST_DOMAIN],
  rules: [
    {
      id: 'everyone-may-echo',
      effect: 'ALLOW',
      identities: [spiffe('good'), `${spiffe('attacker')}/*`, spiffe('egress')],
      permissions: ['echo.call'],
    },
  ],
});

/** Who connects where. */
export type Target = {
  readonly host: string;
  readonly port: number;
  readonly bundlePem: string;
} & Credentials;

/** A sidecar that runs as a process, so that its memory is its own. */
export type SidecarProcess = {
  readonly child: ChildProcess;
  /** Empty where there is no such listener. */
  readonly inboundAddress: string;
  readonly telemetryAddress: string;
  /** What it wrote to its log so far. */
  readonly log: readonly string[];
  metrics(): Promise<Metrics>;
  /** Resident memory in MiB. */
  residentMiB(): Promise<number>;
  /** Asks the probe that it was started with. */
  probe(): Promise<number>;
  stop(): Promise<void>;
};

export type AppProcess = { readonly child: ChildProcess; readonly address: string };

export type HostileMesh = {
  readonly folder: string;
  readonly authority: Authority;
  readonly identityFiles: (name: string) => object;
  writeIdentity(name: string): Promise<void>;
  /** Starts an echo app at a socket of this name. */
  startEcho(name: string): Promise<AppProcess>;
  /** Starts the quickest app there is; it answers unary calls with `ok`. */
  startQuickApp(name: string): Promise<AppProcess>;
  /** Starts a sidecar with a configuration of its own. */
  startSidecar(name: string, more: object): Promise<SidecarProcess>;
  /** Starts an inbound sidecar before an app; one connection to the app, so that every caller shares it. */
  startInbound(app: string, limits?: Record<string, number>, listen?: string): Promise<SidecarProcess>;
  /** Starts an egress sidecar at `unix:FOLDER/egress.sock`. */
  startEgress(
    upstreams: Record<string, readonly string[]>,
    limits?: Record<string, number>,
  ): Promise<SidecarProcess>;
  targetOf(sidecar: SidecarProcess, name: string): Promise<Target>;
  /** A gRPC client of an inbound sidecar. */
  clientOf(sidecar: SidecarProcess, name: string): Promise<EchoClientType>;
  /** A gRPC client of the egress sidecar. */
  egressClient(authority: string): EchoClientType;
  stop(): Promise<void>;
};

/** @param probe a module that every sidecar loads first, and that answers messages with a number */
export async function startHostileMesh(probe: string | null = null): Promise<HostileMesh> {
  const folder = await mkdtemp(join(tmpdir(), 'gh-'));
  const file = (name: string): string => join(folder, name);
  const authority = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: VALID_FOR_MS });
  const issue = (name: string) => authority.issue({ spiffeId: spiffe(name), validForMs: VALID_FOR_MS });
  const writeIdentity = async (name: string): Promise<void> => {
    const issued = await issue(name);
    await writeFile(file(`${name}.key`), issued.keyPem);
    await writeFile(file(`${name}.pem`), issued.certificatePem);
  };
  await writeFile(file('bundle.pem'), authority.bundlePem);
  await writeFile(file('echo.binpb'), echoDescriptorSet());
  await writeFile(file('policy.yaml'), POLICY);
  await Promise.all(['callee', 'egress'].map(writeIdentity));
  const children: ChildProcess[] = [];
  const clients: Client[] = [];
  let started = 0;

  const identityFiles = (name: string): object => ({
    certificateFile: file(`${name}.pem`),
    keyFile: file(`${name}.key`),
    bundleFile: file('bundle.pem'),
    trustDomain: TRUST_DOMAIN,
  });
  const startSidecar = async (name: string, more: object): Promise<SidecarProcess> => {
    const label = `${name}-${started++}`;
    const config = {
      name,
      identity: identityFiles(name),
      contract: { descriptorSetFile: file('echo.binpb'), overlayFiles: [ECHO_OVERLAY_FILE] },
      telemetry: { listen: '127.0.0.1:0' },
      admin: { listen: `unix:${file(`${label}-admin.sock`)}` },
      ...more,
    };
    await writeFile(file(`${label}.yaml`), stringify(config));
    const flags = probe === null ? startOptions.flags : [...startOptions.flags, '--import', probe];
    const child = spawn(process.execPath, [...flags, SIDECAR_MAIN, '--config', file(`${label}.yaml`)], {
      env: { ...process.env, ...startOptions.env },
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    children.push(child);
    return readySidecar(child);
  };
  const startApp = async (path: string, args: readonly string[]): Promise<AppProcess> => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    await once(child.stdout, 'data');
    return { child, address: `unix:${path}` };
  };
  const open = (...args: ConstructorParameters<typeof EchoClient.EchoService>): EchoClientType => {
    const client = new EchoClient.EchoService(...args);
    clients.push(client);
    return client as Client as EchoClientType;
  };
  return {
    folder,
    authority,
    identityFiles,
    writeIdentity,
    startSidecar,
    startEcho: (name) => startApp(file(`${name}.sock`), [ECHO_MAIN, `unix:${file(`${name}.sock`)}`, name]),
    startQuickApp: (name) => startApp(file(`${name}.sock`), [QUICK_APP_MAIN, file(`${name}.sock`)]),
    startInbound: (app, limits = {}, listen = '127.0.0.1:0') =>
      startSidecar('callee', {
        inbound: { listen, app },
        policyFile: file('policy.yaml'),
        limits: { appConnectionsMax: 1, ...limits },
      }),
    startEgress: (upstreams, limits = {}) =>
      startSidecar('egress', {
        limits,
        egress: { listen: `unix:${file('egress.sock')}` },
        upstreams: Object.entries(upstreams).map(([name, endpoints]) => ({
          name,
          identity: spiffe('callee'),
          endpoints,
        })),
      }),
    targetOf: async (sidecar, name) => {
      const [host = '', port] = sidecar.inboundAddress.split(':');
      return { host, port: Number(port), bundlePem: authority.bundlePem, ...(await issue(name)) };
    },
    clientOf: async (sidecar, name) => {
      const { keyPem, certificatePem } = await issue(name);
      const channel = credentials.createSsl(
        Buffer.from(authority.bundlePem),
        Buffer.from(keyPem),
        Buffer.from(certificatePem),
        { checkServerIdentity: () => undefined },
      );
      return open(sidecar.inboundAddress, channel, TLS_OPTIONS);
    },
    egressClient: (name) =>
      open(`unix:${file('egress.sock')}`, credentials.createInsecure(), { 'grpc.default_authority': name }),
    stop: async () => {
      for (const client of clients) client.close();
      await Promise.all(children.map(endProcess));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function readySidecar(child: ChildProcess): Promise<SidecarProcess> {
  const log: string[] = [];
  const lines = createInterface({ input: child.stdout as NonNullable<ChildProcess['stdout']> });
  const addresses = await new Promise<Record<string, string | null>>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the sidecar ended with ${code}: ${log.join('\n')}`)));
    lines.on('line', (line) => {
      log.push(line);
      if (line.includes('sidecar started')) resolve(JSON.parse(line) as Record<string, string>);
    });
  });
  const telemetryAddress = addresses['telemetryAddress'] ?? '';
  const metrics = async (): Promise<Metrics> =>
    readMetrics(await (await fetch(`http://${telemetryAddress}/metrics`)).text());
  return {
    child,
    inboundAddress: addresses['inboundAddress'] ?? '',
    telemetryAddress,
    log,
    metrics,
    residentMiB: async () => (await metrics()).value('process_resident_memory_bytes', {}) / 2 ** 20,
    probe: async () => {
      const answer = once(child, 'message');
      child.send('');
      const [count] = (await answer) as [number];
      return count;
    },
    stop: () => endProcess(child),
  };
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
