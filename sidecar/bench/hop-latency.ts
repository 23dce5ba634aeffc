/**
 * What does a sidecar hop cost a caller? Sequential unary calls to a trivial method: straight to the app, through one
 * sidecar (mTLS to its inbound side), and through two (egress, mTLS, inbound). App and sidecars are processes of their
 * own; the ways are alternated in rounds so that a slow moment of the machine falls on all of them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createAuthority } from '@gatehouse/identity';
import { ECHO_OVERLAY_FILE, EchoClient, echoDescriptorSet } from '@gatehouse/testing';
import { type ChannelCredentials, type Client, type ClientOptions, credentials } from '@grpc/grpc-js';
import { stringify } from 'yaml';

const ROUNDS = 5;
const CALLS_PER_ROUND = 200;
const WARM_UP_CALLS = 300;
const TRUST_DOMAIN = 'bench.gatehouse';
const HOUR_MS = 3_600_000;

const folder = await mkdtemp(join(tmpdir(), 'gh-hop-'));
const children: ChildProcess[] = [];
const file = (name: string): string => join(folder, name);
const spiffe = (name: string): string => `spiffe://${TRUST_DOMAIN}/sa/${name}`;

async function launch(args: readonly string[], ready: RegExp): Promise<string> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  for await (const chunk of child.stdout) {
    const found = ready.exec(String(chunk));
    if (found) return found[1] ?? '';
  }
  throw new Error(`${args.join(' ')} ended before it was ready`);
}

async function launchSidecar(name: string, own: object): Promise<string> {
  const config = {
    name,
    identity: {
      certificateFile: file(`${name}.pem`),
      keyFile: file(`${name}.key`),
      bundleFile: file('bundle.pem'),
      trustDomain: TRUST_DOMAIN,
    },
    contract: { descriptorSetFile: file('echo.binpb'), overlayFiles: [ECHO_OVERLAY_FILE] },
    telemetry: { listen: '127.0.0.1:0', sampleRatio: 0.01 },
    admin: { listen: `unix:${file(`${name}-admin.sock`)}` },
    ...own,
  };
  await writeFile(file(`${name}.yaml`), stringify(config));
  const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
  return launch([main, '--config', file(`${name}.yaml`)], /"inboundAddress":"?([^",]+)/);
}

type Way = {
  readonly name: string;
  readonly client: Client & { unary(request: object, callback: (error: Error | null) => void): void };
  readonly tookMs: number[];
};

function way(name: string, address: string, channel: ChannelCredentials, options: ClientOptions = {}): Way {
  return {
    name,
    client: new EchoClient.EchoService(address, channel, options) as unknown as Way['client'],
    tookMs: [],
  };
}

async function call(client: Way['client']): Promise<number> {
  const begun = performance.now();
  await new Promise<void>((resolve, reject) => {
    client.unary({ text: 'x' }, (error) => (error ? reject(error) : resolve()));
  });
  return performance.now() - begun;
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

async function openWays(): Promise<Way[]> {
  const authority = await createAuthority({
    trustDomain: TRUST_DOMAIN,
    clock: () => Date.now(),
    validForMs: 24 * HOUR_MS,
  });
  for (const name of ['callee', 'caller']) {
    const issued = await authority.issue({ spiffeId: spiffe(name), validForMs: HOUR_MS });
    await writeFile(file(`${name}.pem`), issued.certificatePem);
    await writeFile(file(`${name}.key`), issued.keyPem);
  }
  await writeFile(file('bundle.pem'), authority.bundlePem);
  await writeFile(file('echo.binpb'), echoDescriptorSet());
  const rule = {
    id: 'caller-may-echo',
    effect: 'ALLOW',
    identities: [spiffe('caller')],
    permissions: ['echo.call'],
  };
  await writeFile(
    file('policy.yaml'),
    stringify({ version: 'bench', trustDomains: [TRUST_DOMAIN], rules: [rule] }),
  );
  const echoMain = fileURLToPath(import.meta.resolve('@gatehouse/testing/main'));
  const app = await launch([echoMain, `unix:${file('app.sock')}`], /(\S+)/);
  const inbound = await launchSidecar('callee', {
    inbound: { listen: '127.0.0.1:0', app },
    policyFile: file('policy.yaml'),
  });
  const upstream = { name: 'echo', identity: spiffe('callee'), endpoints: [inbound] };
  await launchSidecar('caller', { egress: { listen: `unix:${file('egress.sock')}` }, upstreams: [upstream] });
  const own = await authority.issue({ spiffeId: spiffe('caller'), validForMs: HOUR_MS });
  const tls = credentials.createSsl(
    Buffer.from(authority.bundlePem),
    Buffer.from(own.keyPem),
    Buffer.from(own.certificatePem),
    {
      checkServerIdentity: () => undefined,
    },
  );
  return [
    way('straight to the app', app, credentials.createInsecure()),
    way('one sidecar (mTLS)', inbound, tls, { 'grpc.ssl_target_name_override': 'localhost' }),
    way('two sidecars', `unix:${file('egress.sock')}`, credentials.createInsecure(), {
      'grpc.default_authority': 'echo',
    }),
  ];
}

try {
  const ways = await openWays();
  for (const { client } of ways) for (let i = 0; i < WARM_UP_CALLS; i++) await call(client);
  for (let round = 0; round < ROUNDS; round++) {
    for (const { client, tookMs } of ways)
      for (let i = 0; i < CALLS_PER_ROUND; i++) tookMs.push(await call(client));
  }
  console.log(`${ROUNDS * CALLS_PER_ROUND} sequential unary calls each way, milliseconds`);
  const straight = quantile(ways[0]?.tookMs ?? [], 0.5);
  for (const [hops, { name, tookMs }] of ways.entries()) {
    const p50 = quantile(tookMs, 0.5);
    const added =
      hops === 0 ? '' : `  added per hop ${((p50 - straight) / hops).toFixed(3)} (target below 0.5)`;
    console.log(
      `  ${name.padEnd(20)} p50 ${p50.toFixed(3)}  p99 ${quantile(tookMs, 0.99).toFixed(3)}${added}`,
    );
  }
  for (const { client } of ways) client.close();
} finally {
  for (const child of children) {
    child.kill();
    if (child.exitCode === null) await once(child, 'exit');
  }
  await rm(folder, { recursive: true, force: true });
}
