import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ECHO_OVERLAY_FILE, EchoClient } from '@gatehouse/testing';
import { type Client, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { type EchoClientType, run, startCall } from './support/calls.ts';
import { startTestMesh, type TestMesh, TLS_OPTIONS, TRUST_DOMAIN } from './support/test-mesh.ts';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));

let mesh: TestMesh;
const children: ChildProcess[] = [];
beforeAll(async () => {
  mesh = await startTestMesh();
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await mesh.stop();
});

/** A configuration before the mesh's app, with its identity and policy. */
function configOf(name: string, more: object = {}): object {
  const file = (path: string): string => join(mesh.folder, path);
  return {
    name: 'callee',
    identity: {
      certificateFile: file('callee.pem'),
      keyFile: file('callee.key'),
      bundleFile: file('bundle.pem'),
      trustDomain: TRUST_DOMAIN,
    },
    inbound: { listen: '127.0.0.1:0', app: `unix:${file('app.sock')}` },
    policyFile: file('policy.yaml'),
    contract: { descriptorSetFile: file('echo.binpb'), overlayFiles: [ECHO_OVERLAY_FILE] },
    telemetry: { listen: '127.0.0.1:0' },
    admin: { listen: `unix:${file(`${name}.sock`)}` },
    ...more,
  };
}

type Launched = {
  readonly child: ChildProcess;
  readonly output: { out: string; err: string };
  readonly exited: Promise<number | null>;
};

function launchWith(args: readonly string[]): Launched {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  const output = { out: '', err: '' };
  child.stdout.on('data', (text: Buffer) => (output.out += text.toString()));
  child.stderr.on('data', (text: Buffer) => (output.err += text.toString()));
  return { child, output, exited: once(child, 'close').then(([code]) => code as number | null) };
}

async function launch(name: string, config: object): Promise<Launched> {
  const file = join(mesh.folder, `${name}.yaml`);
  await writeFile(file, stringify(config));
  return launchWith(['--config', file]);
}

/** The addresses that the process says it listens on. */
async function started({ output }: Launched): Promise<{ inboundAddress: string; telemetryAddress: string }> {
  return vi.waitFor(
    () => {
      const line = output.out.split('\n').find((each) => each.includes('sidecar started'));
      if (line === undefined) throw new Error(`not started yet: ${output.out} ${output.err}`);
      return JSON.parse(line) as { inboundAddress: string; telemetryAddress: string };
    },
    { timeout: 15_000, interval: 50 },
  );
}

/** What a process that refuses to start says, line by line. */
async function refusal(launched: Launched): Promise<string[]> {
  expect(await launched.exited).toBe(1);
  return launched.output.err.split('\n').filter((line) => line !== '');
}

test('SIGTERM lets the streams in progress end, takes no new connection, and ends with 0', async () => {
  const process = await launch('one', configOf('one'));
  const { inboundAddress, telemetryAddress } = await started(process);
  const connect = async () =>
    new EchoClient.EchoService(
      inboundAddress,
      await mesh.credentialsOf('caller'),
      TLS_OPTIONS,
    ) as Client as EchoClientType;
  const [client, late] = [await connect(), await connect()];
  const stream = startCall(client, 'serverStream', [{ count: 100, delayMs: 10, text: 'x' }]);
  await stream.firstAnswer;
  process.child.kill('SIGTERM');
  await vi.waitFor(async () => expect((await fetch(`http://${telemetryAddress}/readyz`)).status).toBe(503));
  expect((await fetch(`http://${telemetryAddress}/livez`)).status).toBe(200);
  await vi.waitFor(async () => {
    expect((await run(late, 'unary', [{}], { timeoutMs: 500 })).code).toBe(status.UNAVAILABLE);
  });
  const ended = await stream.ended;
  expect([ended.code, ended.answers.length]).toEqual([status.OK, 100]);
  expect(await process.exited).toBe(0);
  expect(process.output.err).toBe('');
  client.close();
  late.close();
});

test('a second process on the same socket or port ends with 1 and one sentence, and the first goes on', async () => {
  const first = await launch('first', configOf('first'));
  const { inboundAddress, telemetryAddress } = await started(first);
  const sameSocket = await launch('same-socket', configOf('first'));
  const samePort = await launch(
    'same-port',
    configOf('other', { inbound: { listen: inboundAddress, app: 'unix:/tmp/none' } }),
  );
  expect(await refusal(sameSocket)).toEqual([
    `sidecar: cannot listen on unix:${join(mesh.folder, 'first.sock')}: another process has it`,
  ]);
  expect(await refusal(samePort)).toEqual([
    `sidecar: cannot listen on ${inboundAddress}: another process has it`,
  ]);
  expect((await fetch(`http://${telemetryAddress}/readyz`)).status).toBe(200);
  first.child.kill('SIGINT');
  expect(await first.exited).toBe(0);
});

test.concurrent('an admin port that is taken is said in a sentence, not with a stack', async () => {
  const taken = mesh.inbound.telemetryAddress;
  const lines = await refusal(await launch('taken', configOf('taken', { admin: { listen: taken } })));
  // grpc-js adds a line of its own.
  expect(lines.filter((line) => line.startsWith('sidecar: '))).toEqual([
    expect.stringContaining(`cannot listen on ${taken}: `),
  ]);
  expect(lines.join('\n')).not.toContain('    at ');
});

test.concurrent('a bad configuration ends with 1 and every problem, each on a line with its place', async () => {
  const bad = configOf('bad', { name: 'Bad!', limits: { attemptsMax: 0 }, telemetry: {}, extra: 1 });
  const lines = await refusal(await launch('bad', bad));
  const file = join(mesh.folder, 'bad.yaml');
  expect(lines).toHaveLength(4);
  for (const line of lines) expect(line).toMatch(new RegExp(`^sidecar: ${file}:\\d+:\\d+: `));
  expect(lines.map((line) => line.split(': ')[2]).sort((a, b) => (a ?? '').localeCompare(b ?? ''))).toEqual([
    'extra',
    'limits.attemptsMax',
    'name',
    'telemetry.listen',
  ]);
});

test.concurrent('files that are missing or wrong are named, all of those that can be looked at', async () => {
  const base = configOf('missing') as { identity: object; policyFile: string };
  const missing = await refusal(
    await launch('missing', {
      ...base,
      identity: { ...base.identity, certificateFile: '/nowhere/tls.crt' },
      contract: { descriptorSetFile: '/nowhere/echo.binpb', overlayFiles: ['/nowhere/overlay.yaml'] },
    }),
  );
  expect(missing).toHaveLength(3);
  for (const part of ['/nowhere/tls.crt', '/nowhere/echo.binpb', '/nowhere/overlay.yaml'])
    expect(missing.join('\n')).toContain(part);
  const policyFile = join(mesh.folder, 'not-a-policy.yaml');
  await writeFile(policyFile, 'version: v1\ntrustDomains: []\nrules: 5\n');
  const policy = await refusal(await launch('bad-policy', { ...base, policyFile }));
  expect(policy.map((line) => line.slice(0, `sidecar: ${policyFile}:1:1`.length))).toEqual([
    `sidecar: ${policyFile}:2:1`,
    `sidecar: ${policyFile}:3:1`,
  ]);
});

test.concurrent('without a configuration, with one that is not there, or with an unknown flag it says what it expects', async () => {
  expect(await refusal(launchWith([]))).toEqual(['sidecar: expected --config FILE']);
  const [line] = await refusal(launchWith(['--config', '/nowhere/sidecar.yaml']));
  expect(line).toContain('/nowhere/sidecar.yaml cannot be read');
  const flag = await refusal(launchWith(['--conf', 'x']));
  expect(flag).toHaveLength(1);
  expect(flag[0]).toContain('--conf');
});
