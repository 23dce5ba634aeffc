import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Authority, createAuthority } from '@gatehouse/identity';
import { createLogger } from '@gatehouse/telemetry/logger';
import {
  ECHO_OVERLAY_FILE,
  EchoClient,
  type EchoServer,
  echoDescriptorSet,
  startEchoServer,
} from '@gatehouse/testing';
import { type ChannelCredentials, type Client, type ClientOptions, credentials } from '@grpc/grpc-js';
import { stringify } from 'yaml';
import { parseConfig } from '../../src/config/parse.ts';
import { type Sidecar, startSidecar } from '../../src/sidecar.ts';
import type { EchoClientType } from './calls.ts';

export const TRUST_DOMAIN = 'test.gatehouse';
/** Node takes no IP address as TLS server name; peers are known by SPIFFE ID, not by name. */
export const TLS_OPTIONS = { 'grpc.ssl_target_name_override': 'localhost' };
const HOUR_MS = 3_600_000;
export const clock = (): number => performance.timeOrigin + performance.now();

/** @param name the last segment */
export function spiffe(name: string): string {
  return `spiffe://${TRUST_DOMAIN}/sa/${name}`;
}

export const OPEN_POLICY = stringify({
  version: 'test-1',
  trustDomains: [TRUST_DOMAIN],
  rules: [
    { id: 'caller-may-echo', effect: 'ALLOW', identities: [spiffe('caller')], permissions: ['echo.call'] },
    {
      id: 'picky-may-use-small-models',
      effect: 'ALLOW',
      identities: [spiffe('picky')],
      permissions: ['echo.call'],
      models: ['small-*'],
    },
    {
      id: 'anyone-may-check-health',
      effect: 'ALLOW',
      identities: [`spiffe://${TRUST_DOMAIN}/**`],
      permissions: ['health.check'],
    },
  ],
});

export type MeshOptions = {
  readonly policy?: string;
  readonly limits?: Readonly<Record<string, unknown>>;
  /** Classifies more of the echo service. */
  readonly overlay?: string;
  /** The inbound sidecars' `sharedLimits` section. */
  readonly sharedLimits?: object;
  /** The sidecars' `contract` section. Default: the echo service's. */
  readonly contract?: object;
  /** The inbound sidecars' `protection` section. */
  readonly protection?: object;
  /** Inbound sidecars before the app, all endpoints of the one upstream. Default 1. */
  readonly inbounds?: number;
  /** Where the app is; default: an echo server of its own in this process. */
  readonly app?: string;
  /** Further endpoints of the upstream, beside the inbound sidecar. */
  readonly endpoints?: readonly string[];
  /** Where the upstream is, instead of the list of the inbound sidecars. */
  readonly upstream?: object;
  readonly kubernetes?: object;
  /** Where identities come from, by `callee` or `caller`, instead of files. */
  readonly identity?: (name: string) => object;
  /** The inbound sidecars' `audit` section; its folder is `audit-0` and so on in the mesh's. */
  readonly audit?: object;
  /** More of the inbound sidecars' configuration; files that it names can be written first. */
  readonly inboundConfig?: (file: (name: string) => string) => Promise<object>;
  /** Where the sidecars' logs go, at `debug`. Default: warnings to standard output. */
  readonly logs?: { write(line: string): void };
  readonly otlpEndpoint?: string;
  /** More of the sidecars' `telemetry` section. */
  readonly telemetry?: object;
  /** Of traces that begin at a sidecar. Default 1. */
  readonly sampleRatio?: number;
};

/** caller's egress sidecar → mTLS → inbound sidecar → echo server, with an authority of their own. */
export type TestMesh = {
  readonly folder: string;
  readonly authority: Authority;
  /** The first of `inbounds`. */
  readonly inbound: Sidecar;
  readonly inbounds: readonly Sidecar[];
  readonly egress: Sidecar;
  readonly echo: EchoServer | null;
  /** A client that calls through both sidecars, as the local app. */
  client(options?: ClientOptions): EchoClientType;
  /** A client that calls the inbound sidecar over mTLS as this identity. */
  clientAs(name: string): Promise<EchoClientType>;
  credentialsOf(name: string): Promise<ChannelCredentials>;
  /** Closes a client of another service with the mesh. */
  closeLater(client: Client): void;
  writeIdentity(name: string): Promise<void>;
  /** Starts an inbound sidecar that has been drained again, at the same port. */
  restartInbound(index: number): Promise<void>;
  metrics(sidecar: Sidecar): Promise<string>;
  stop(): Promise<void>;
};

export async function startTestMesh(options: MeshOptions = {}): Promise<TestMesh> {
  const folder = await mkdtemp(join(tmpdir(), 'gh-'));
  const authority = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: 24 * HOUR_MS });
  const file = (name: string): string => join(folder, name);
  let issuedCount = 0;
  const writeIdentity = async (name: string): Promise<void> => {
    // Every certificate ends later than the one before, so that a test can tell them apart.
    const issued = await authority.issue({
      spiffeId: spiffe(name),
      // For clients that insist on a name; ours go by the SPIFFE ID.
      dnsNames: ['localhost'],
      validForMs: HOUR_MS + 10_000 * issuedCount++,
    });
    await Promise.all([
      writeFile(file(`${name}.pem`), issued.certificatePem),
      writeFile(file(`${name}.key`), issued.keyPem),
      writeFile(file('bundle.pem'), authority.bundlePem),
    ]);
  };
  await writeIdentity('callee');
  await writeIdentity('caller');
  await writeFile(file('echo.binpb'), echoDescriptorSet());
  await writeFile(file('policy.yaml'), options.policy ?? OPEN_POLICY);
  await writeFile(file('overlay.yaml'), options.overlay ?? '{}');
  const echo =
    options.app === undefined ? await startEchoServer({ address: `unix:${file('app.sock')}` }) : null;

  const common = (name: string, process = name) => ({
    identity: options.identity?.(name) ?? {
      certificateFile: file(`${name}.pem`),
      keyFile: file(`${name}.key`),
      bundleFile: file('bundle.pem'),
      trustDomain: TRUST_DOMAIN,
    },
    contract: options.contract ?? {
      descriptorSetFile: file('echo.binpb'),
      overlayFiles: [ECHO_OVERLAY_FILE, file('overlay.yaml')],
    },
    telemetry: {
      listen: '127.0.0.1:0',
      sampleRatio: options.sampleRatio ?? 1,
      ...(options.otlpEndpoint === undefined ? {} : { otlpEndpoint: options.otlpEndpoint }),
      ...options.telemetry,
    },
    admin: { listen: `unix:${file(`${process}-admin.sock`)}` },
    limits: options.limits ?? {},
    log: { level: 'warn' },
  });
  const inboundConfig = (await options.inboundConfig?.(file)) ?? {};
  const startInbound = (index: number, listen: string) =>
    start(
      {
        name: 'callee',
        ...common('callee', `callee-${index}`),
        inbound: { listen, app: options.app ?? `unix:${file('app.sock')}` },
        policyFile: file('policy.yaml'),
        ...(options.sharedLimits === undefined ? {} : { sharedLimits: options.sharedLimits }),
        ...inboundConfig,
        protection: options.protection ?? {},
        ...(options.audit === undefined
          ? {}
          : { audit: { folder: file(`audit-${index}`), ...options.audit } }),
      },
      options.logs,
    );
  const inbounds: Sidecar[] = [];
  for (let index = 0; index < (options.inbounds ?? 1); index++)
    inbounds.push(await startInbound(index, '127.0.0.1:0'));
  const inbound = inbounds[0] as Sidecar;
  const egress = await start(
    {
      name: 'caller',
      ...common('caller'),
      egress: { listen: `unix:${file('egress.sock')}` },
      upstreams: [
        {
          name: 'echo',
          identity: spiffe('callee'),
          ...(options.upstream ?? {
            endpoints: [
              ...inbounds.map(({ inboundAddress }) => inboundAddress),
              ...(options.endpoints ?? []),
            ],
          }),
        },
      ],
      ...(options.kubernetes === undefined ? {} : { kubernetes: options.kubernetes }),
    },
    options.logs,
  );

  const clients: Client[] = [];
  const open = (address: string, channel: ChannelCredentials, more: ClientOptions): EchoClientType => {
    const client = new EchoClient.EchoService(address, channel, more) as Client as EchoClientType;
    clients.push(client);
    return client;
  };
  const credentialsOf = async (name: string): Promise<ChannelCredentials> => {
    const issued = await authority.issue({ spiffeId: spiffe(name), validForMs: HOUR_MS });
    return credentials.createSsl(
      Buffer.from(authority.bundlePem),
      Buffer.from(issued.keyPem),
      Buffer.from(issued.certificatePem),
      {
        checkServerIdentity: () => undefined,
      },
    );
  };
  return {
    folder,
    authority,
    inbound,
    inbounds,
    egress,
    echo,
    client: (more = {}) =>
      open(`unix:${file('egress.sock')}`, credentials.createInsecure(), {
        'grpc.default_authority': 'echo',
        ...more,
      }),
    clientAs: async (name) => open(inbound.inboundAddress ?? '', await credentialsOf(name), TLS_OPTIONS),
    credentialsOf,
    closeLater: (client) => clients.push(client),
    writeIdentity,
    restartInbound: async (index) => {
      inbounds[index] = await startInbound(index, inbounds[index]?.inboundAddress ?? '');
    },
    metrics: async (sidecar) => (await fetch(`http://${sidecar.telemetryAddress}/metrics`)).text(),
    stop: async () => {
      for (const client of clients) client.close();
      await Promise.all([egress, ...inbounds].map((sidecar) => sidecar.drain()));
      echo?.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function start(config: object, logs: MeshOptions['logs']): Promise<Sidecar> {
  const parsed = parseConfig(stringify(config), 'test.yaml');
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems));
  const logger =
    logs === undefined
      ? createLogger({ name: 'test', level: 'warn' })
      : createLogger({ name: 'test', level: 'debug', destination: logs });
  return startSidecar(parsed.config, clock, logger);
}
