import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ECHO_OVERLAY_FILE, EchoClient } from '@gatehouse/testing';
import { type Client, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { parse, stringify } from 'yaml';
import {
  generateSigningKey,
  readCheckpoint,
  readEntries,
  readVerifyingKey,
  verifyChain,
} from '../src/audit/index.ts';
import { type EchoClientType, run } from './support/calls.ts';
import { OPEN_POLICY, startTestMesh, type TestMesh, TLS_OPTIONS, TRUST_DOMAIN } from './support/test-mesh.ts';

const SIDECAR = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const WRITER = fileURLToPath(new URL('./audit-writer/main.ts', import.meta.url));
const KILLS = Number(process.env['GATEHOUSE_KILLS'] ?? 5);
const MS_BEFORE_KILL_MAX = 60;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gh-kill-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Lets a writer run and kills it at a random moment. @returns how many records it said were on disk */
async function writeUntilKilled(args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [WRITER, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.on('data', (text: Buffer) => (out += text.toString()));
  child.stderr.on('data', (text: Buffer) => (err += text.toString()));
  const closed = once(child, 'close');
  await Promise.race([once(child.stdout, 'data'), closed]);
  await new Promise((resolve) => {
    setTimeout(resolve, Math.random() * MS_BEFORE_KILL_MAX);
  });
  child.kill('SIGKILL');
  const [code, signal] = (await closed) as [number | null, string | null];
  expect({ code, signal, err }).toEqual({ code: null, signal: 'SIGKILL', err: '' });
  return Number(out.trim().split('\n').at(-1) ?? 0);
}

test(
  'a writer that is killed at any moment, again and again, loses nothing that it had acknowledged',
  async () => {
    const { privatePem, publicPem } = generateSigningKey();
    const acknowledged: number[] = [];
    let torn = 0;
    for (let life = 0; life < KILLS; life++) {
      acknowledged.push(await writeUntilKilled([folder, String(life), privatePem]));
      const report = await verifyChain(folder);
      expect(report.problems).toEqual([]);
      if (report.torn !== null) torn += 1;
      const kept = new Map<string, number>();
      for await (const { content } of readEntries(folder)) {
        if (content.$case !== 'record') continue;
        const [of = '', number = ''] = content.value.decisionId.split('-');
        expect(Number(number)).toBe(kept.get(of) ?? 0);
        kept.set(of, Number(number) + 1);
      }
      for (const [of, count] of acknowledged.entries())
        expect(kept.get(String(of)) ?? 0).toBeGreaterThanOrEqual(count);
    }
    expect(Math.min(...acknowledged)).toBeGreaterThan(0);
    const key = readVerifyingKey(publicPem);
    if (typeof key === 'string') throw new Error(key);
    const jws = await readFile(join(folder, 'checkpoint.jws'), 'utf8').catch(() => null);
    if (jws !== null) {
      const checkpoint = await readCheckpoint(jws, key);
      if (typeof checkpoint === 'string') throw new Error(checkpoint);
      expect((await verifyChain(folder, { signed: [checkpoint] })).problems).toEqual([]);
    }
    console.info(`${KILLS} kills, ${torn} in the middle of a write, ${acknowledged.join(' ')} acknowledged`);
  },
  10_000 + KILLS * 4000,
);

const SIDECAR_KILLS = Number(process.env['GATEHOUSE_KILLS'] ?? 2);
const CALLS_AT_ONCE = 16;
const CALLS_BEFORE_KILL_MAX = 200;

/** A configuration of a sidecar before the mesh's app whose answers wait for their records. */
async function writeConfig(mesh: TestMesh): Promise<string> {
  const file = (name: string): string => join(mesh.folder, name);
  const policy = { ...(parse(OPEN_POLICY) as object), audit: { answerWaits: true } };
  await writeFile(file('killed-policy.yaml'), stringify(policy));
  const config = {
    name: 'callee',
    identity: {
      certificateFile: file('callee.pem'),
      keyFile: file('callee.key'),
      bundleFile: file('bundle.pem'),
      trustDomain: TRUST_DOMAIN,
    },
    inbound: { listen: '127.0.0.1:0', app: `unix:${file('app.sock')}` },
    policyFile: file('killed-policy.yaml'),
    contract: { descriptorSetFile: file('echo.binpb'), overlayFiles: [ECHO_OVERLAY_FILE] },
    telemetry: { listen: '127.0.0.1:0' },
    audit: { folder: file('killed-audit'), segmentBytesMax: 65_536 },
    admin: { listen: `unix:${file('killed.sock')}` },
  };
  await writeFile(file('killed.yaml'), stringify(config));
  return file('killed.yaml');
}

/** Calls a sidecar process without a pause until it is killed. @returns traces of the calls that were answered */
async function callUntilKilled(mesh: TestMesh, configFile: string): Promise<string[]> {
  const child = spawn(process.execPath, [SIDECAR, '--config', configFile], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (text: Buffer) => (out += text.toString()));
  child.stderr.on('data', (text: Buffer) => (err += text.toString()));
  const closed = once(child, 'close');
  const address = await vi.waitFor(
    () => {
      const line = out.split('\n').find((each) => each.includes('sidecar started')) ?? err;
      return (JSON.parse(line) as { inboundAddress: string }).inboundAddress;
    },
    { timeout: 15_000, interval: 20 },
  );
  const channel = await mesh.credentialsOf('caller');
  const client = new EchoClient.EchoService(address, channel, TLS_OPTIONS) as Client as EchoClientType;
  const answered: string[] = [];
  let killed = false;
  const call = async (): Promise<void> => {
    while (!killed) {
      const traceId = randomBytes(16).toString('hex');
      const metadata = { traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-01` };
      if ((await run(client, 'unary', [{ text: 'x' }], { metadata })).code === status.OK)
        answered.push(traceId);
    }
  };
  const callers = Array.from({ length: CALLS_AT_ONCE }, call);
  const count = Math.ceil(Math.random() * CALLS_BEFORE_KILL_MAX);
  await vi.waitFor(() => expect(answered.length).toBeGreaterThanOrEqual(count), {
    timeout: 10_000,
    interval: 2,
  });
  child.kill('SIGKILL');
  killed = true;
  await closed;
  await Promise.all(callers);
  client.close();
  return answered;
}

test(
  'a sidecar that is killed under load has on record every call that was answered',
  async () => {
    const mesh = await startTestMesh();
    try {
      const configFile = await writeConfig(mesh);
      const answered: string[] = [];
      for (let life = 0; life < SIDECAR_KILLS; life++) {
        answered.push(...(await callUntilKilled(mesh, configFile)));
        expect((await verifyChain(join(mesh.folder, 'killed-audit'))).problems).toEqual([]);
        const onRecord = new Set<string>();
        for await (const { content } of readEntries(join(mesh.folder, 'killed-audit')))
          if (content.$case === 'record') onRecord.add(content.value.traceId);
        expect(answered.filter((traceId) => !onRecord.has(traceId))).toEqual([]);
      }
      expect(answered.length).toBeGreaterThan(SIDECAR_KILLS);
      console.info(`${SIDECAR_KILLS} kills, ${answered.length} calls answered`);
    } finally {
      await mesh.stop();
    }
  },
  20_000 + SIDECAR_KILLS * 10_000,
);
