import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { createAuthority } from '@gatehouse/identity';
import { createLogger } from '@gatehouse/telemetry/logger';
import { stringify } from 'yaml';
import { parseConfig } from '../../../src/config/parse.ts';
import { type Sidecar, startSidecar } from '../../../src/sidecar.ts';
import { OVERLAY_FILE, testServiceDescriptorSet } from './test-service.ts';

const TRUST_DOMAIN = 'test.gatehouse';
const HOUR_MS = 3_600_000;
const clock = (): number => performance.timeOrigin + performance.now();
const spiffe = (name: string): string => `spiffe://${TRUST_DOMAIN}/sa/${name}`;

/** The name that gRPC clients give as `:authority` when they dial a Unix socket. */
export const UPSTREAM = 'localhost';

const POLICY = stringify({
  version: 'conformance-1',
  trustDomains: [TRUST_DOMAIN],
  rules: [
    {
      id: 'caller-may-test',
      effect: 'ALLOW',
      identities: [spiffe('caller')],
      permissions: ['interop.call'],
    },
  ],
});

/** Egress sidecar → mTLS → inbound sidecar → an app that serves grpc.testing.TestService. */
export type ConformanceMesh = {
  readonly inbound: Sidecar;
  readonly egress: Sidecar;
  /** What a client needs to be taken for the egress sidecar. */
  readonly callerTls: ConnectionOptions;
  metrics(sidecar: Sidecar): Promise<string>;
  stop(): Promise<void>;
};

/**
 * @param app its address
 * @param egressListen default a Unix socket
 * @param upstream what callers of the egress listener say as `:authority`
 */
export async function startConformanceMesh(
  app: string,
  egressListen?: string,
  upstream: string = UPSTREAM,
): Promise<ConformanceMesh> {
  const folder = await mkdtemp(join(tmpdir(), 'gh-c-'));
  const file = (name: string): string => join(folder, name);
  const authority = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: 24 * HOUR_MS });
  const issue = (name: string) => authority.issue({ spiffeId: spiffe(name), validForMs: HOUR_MS });
  const caller = await issue('caller');
  for (const [name, issued] of [
    ['caller', caller],
    ['callee', await issue('callee')],
  ] as const) {
    await writeFile(file(`${name}.pem`), issued.certificatePem);
    await writeFile(file(`${name}.key`), issued.keyPem);
  }
  await writeFile(file('bundle.pem'), authority.bundlePem);
  await writeFile(file('service.binpb'), testServiceDescriptorSet());
  await writeFile(file('policy.yaml'), POLICY);

  const common = (name: string) => ({
    name,
    identity: {
      certificateFile: file(`${name}.pem`),
      keyFile: file(`${name}.key`),
      bundleFile: file('bundle.pem'),
      trustDomain: TRUST_DOMAIN,
    },
    contract: { descriptorSetFile: file('service.binpb'), overlayFiles: [OVERLAY_FILE] },
    telemetry: { listen: '127.0.0.1:0', sampleRatio: 0 },
    admin: { listen: `unix:${file(`${name}-admin.sock`)}` },
    limits: { drainMsMax: 1_000 },
  });
  const inbound = await start({
    ...common('callee'),
    inbound: { listen: '127.0.0.1:0', app },
    policyFile: file('policy.yaml'),
  });
  const egress = await start({
    ...common('caller'),
    egress: { listen: egressListen ?? `unix:${file('egress.sock')}` },
    upstreams: [{ name: upstream, identity: spiffe('callee'), endpoints: [inbound.inboundAddress] }],
  });
  return {
    inbound,
    egress,
    callerTls: {
      cert: caller.certificatePem,
      key: caller.keyPem,
      ca: authority.bundlePem,
      // Peers are known by SPIFFE ID, not by name.
      checkServerIdentity: () => undefined,
      servername: 'localhost',
    },
    metrics: async (sidecar) => (await fetch(`http://${sidecar.telemetryAddress}/metrics`)).text(),
    stop: async () => {
      await Promise.all([egress.drain(), inbound.drain()]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function start(config: object): Promise<Sidecar> {
  const parsed = parseConfig(stringify(config), 'conformance.yaml');
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems));
  return startSidecar(parsed.config, clock, createLogger({ name: 'test', level: 'error' }));
}
