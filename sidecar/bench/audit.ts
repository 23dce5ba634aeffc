/**
 * What does a record of every decision cost? Unary calls to a trivial method over mTLS, many at once, through four
 * sidecars that differ in nothing but their audit: none, one record in ten, every one, and every one with answers that
 * wait for it. They are processes of their own and take turns in short rounds; told are CPU time and latency of a call
 * against the way without audit, and how many records share a write.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createAuthority } from '@gatehouse/identity';
import { ECHO_OVERLAY_FILE, EchoClient, echoDescriptorSet, startEchoServer } from '@gatehouse/testing';
import { type ChannelCredentials, type Client, credentials } from '@grpc/grpc-js';
import { stringify } from 'yaml';
import { generateSigningKey } from '../src/audit/index.ts';

const ROUNDS = Number(process.argv[2] ?? 12);
const CALLS_PER_ROUND = 1000;
const CALLS_AT_ONCE = 32;
const WARM_UP_CALLS = 3000;
const TRUST_DOMAIN = 'bench.gatehouse';
const HOUR_MS = 3_600_000;
/** Node takes no IP address as TLS server name; peers are known by SPIFFE ID, not by name. */
const TLS_OPTIONS = { 'grpc.ssl_target_name_override': 'localhost' };
/** What a sidecar says before and when it has started. */
const STARTED_CHARACTERS_MAX = 100_000;
/** Of `utime` and `stime` in /proc (proc_pid_stat(5)). */
const TICKS_PER_SECOND = 100;

const folder = await mkdtemp(join(tmpdir(), 'gh-audit-bench-'));
const file = (name: string): string => join(folder, name);
const spiffe = (name: string): string => `spiffe://${TRUST_DOMAIN}/sa/${name}`;

type EchoCaller = Client & { unary(request: object, callback: (error: Error | null) => void): void };

type Way = {
  readonly name: string;
  readonly process: ChildProcess;
  readonly client: EchoCaller;
  readonly metricsUrl: string;
  readonly cpuMs: number[];
  readonly latencyMs: number[];
};

/** @param audit the policy's audit section; null: the sidecar has no audit folder */
async function startWay(name: string, audit: object | null, channel: ChannelCredentials): Promise<Way> {
  const id = name.replaceAll(' ', '-');
  const rule = { id: 'all', effect: 'ALLOW', identities: [spiffe('caller')], permissions: ['echo.call'] };
  const policy = { version: 'bench', trustDomains: [TRUST_DOMAIN], rules: [rule], ...(audit && { audit }) };
  await writeFile(file(`${id}-policy.yaml`), stringify(policy));
  const config = {
    name: 'callee',
    identity: {
      certificateFile: file('callee.pem'),
      keyFile: file('callee.key'),
      bundleFile: file('bundle.pem'),
      trustDomain: TRUST_DOMAIN,
    },
    inbound: { listen: '127.0.0.1:0', app: `unix:${file('app.sock')}` },
    policyFile: file(`${id}-policy.yaml`),
    contract: { descriptorSetFile: file('echo.binpb'), overlayFiles: [ECHO_OVERLAY_FILE] },
    telemetry: { listen: '127.0.0.1:0' },
    admin: { listen: `unix:${file(`${id}.sock`)}` },
    ...(audit && { audit: { folder: file(id), signingKeyFile: file('audit.key') } }),
  };
  await writeFile(file(`${id}.yaml`), stringify(config));
  const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
  const child = spawn(process.execPath, [main, '--config', file(`${id}.yaml`)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { inboundAddress, telemetryAddress } = await startedAt(child);
  const client = new EchoClient.EchoService(inboundAddress, channel, TLS_OPTIONS) as Client as EchoCaller;
  const metricsUrl = `http://${telemetryAddress}/metrics`;
  return { name, process: child, client, metricsUrl, cpuMs: [], latencyMs: [] };
}

function startedAt(child: ChildProcess): Promise<{ inboundAddress: string; telemetryAddress: string }> {
  return new Promise((resolve, reject) => {
    let out = '';
    child.once('close', () => reject(new Error('a sidecar ended before it had started')));
    child.stdout?.on('data', (chunk: Buffer) => {
      if (out.length < STARTED_CHARACTERS_MAX) out += chunk.toString();
      const line = out.split('\n').find((each) => each.includes('"sidecar started"'));
      if (line !== undefined)
        resolve(JSON.parse(line) as { inboundAddress: string; telemetryAddress: string });
    });
  });
}

async function callMany({ client }: Way, count: number): Promise<number[]> {
  const tookMs: number[] = [];
  let left = count;
  const callers = Array.from({ length: CALLS_AT_ONCE }, async () => {
    while (left-- > 0) {
      const begun = performance.now();
      await new Promise<void>((resolve, reject) => {
        client.unary({ text: 'x' }, (error) => (error ? reject(error) : resolve()));
      });
      tookMs.push(performance.now() - begun);
    }
  });
  await Promise.all(callers);
  return tookMs;
}

/** CPU time of a process so far, in milliseconds. */
async function cpuOf({ process }: Way): Promise<number> {
  const stat = await readFile(`/proc/${process.pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND;
}

async function metric({ metricsUrl }: Way, line: RegExp): Promise<number> {
  return Number(line.exec(await (await fetch(metricsUrl)).text())?.[1] ?? 0);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const authority = await createAuthority({
  trustDomain: TRUST_DOMAIN,
  clock: () => Date.now(),
  validForMs: HOUR_MS,
});
await writeFile(file('bundle.pem'), authority.bundlePem);
await writeFile(file('echo.binpb'), echoDescriptorSet());
await writeFile(file('audit.key'), generateSigningKey().privatePem);
const callee = await authority.issue({ spiffeId: spiffe('callee'), validForMs: HOUR_MS });
await writeFile(file('callee.pem'), callee.certificatePem);
await writeFile(file('callee.key'), callee.keyPem);
const caller = await authority.issue({ spiffeId: spiffe('caller'), validForMs: HOUR_MS });
const channel = credentials.createSsl(
  Buffer.from(authority.bundlePem),
  Buffer.from(caller.keyPem),
  Buffer.from(caller.certificatePem),
  { checkServerIdentity: () => undefined },
);
const echo = await startEchoServer({ address: `unix:${file('app.sock')}` });
const ways: Way[] = [];
try {
  for (const [name, audit] of [
    ['without', null],
    ['one in ten', { allowedSampleRatio: 0.1 }],
    ['every call', {}],
    ['answers wait', { answerWaits: true }],
  ] as const)
    ways.push(await startWay(name, audit, channel));
  for (const way of ways) await callMany(way, WARM_UP_CALLS);
  for (let round = 0; round < ROUNDS; round++) {
    for (const way of round % 2 === 0 ? ways : ways.toReversed()) {
      const before = await cpuOf(way);
      const tookMs = await callMany(way, CALLS_PER_ROUND);
      way.cpuMs.push((await cpuOf(way)) - before);
      way.latencyMs.push(median(tookMs));
    }
  }
  const [base] = ways as [Way];
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  console.log(`${ROUNDS} rounds of ${CALLS_PER_ROUND} calls, ${CALLS_AT_ONCE} at once`);
  for (const way of ways) {
    const cpu = sum(way.cpuMs) / (ROUNDS * CALLS_PER_ROUND);
    const ratio = sum(way.cpuMs) / sum(base.cpuMs);
    const latencyRatio = median(way.latencyMs.map((each, at) => each / (base.latencyMs[at] as number)));
    const written = await metric(way, /^gatehouse_audit_records_total\{result="written"\} (\d+)$/m);
    const writes = await metric(way, /^gatehouse_audit_writes_total (\d+)$/m);
    const shared = writes === 0 ? '' : `; ${(written / writes).toFixed(1)} records a write`;
    console.log(
      `${way.name.padEnd(12)} CPU ${(cpu * 1000).toFixed(0)} µs a call (×${ratio.toFixed(2)}), p50 ${median(way.latencyMs).toFixed(1)} ms (×${latencyRatio.toFixed(2)})${shared}`,
    );
  }
} finally {
  for (const { client, process } of ways) {
    client.close();
    process.kill('SIGTERM');
    await once(process, 'exit');
  }
  echo.stop();
  await rm(folder, { recursive: true, force: true });
}
