import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AuditRecord } from '@gatehouse/contracts/audit';
import { status } from '@grpc/grpc-js';
import { afterEach, expect, test, vi } from 'vitest';
import { parse, stringify } from 'yaml';
import { startRawCollector } from '../../libs/telemetry/test/raw-collector.ts';
import {
  generateSigningKey,
  readCheckpoint,
  readEntries,
  readVerifyingKey,
  verifyChain,
} from '../src/audit/index.ts';
import { listDecisions } from './support/admin.ts';
import { run, startCall } from './support/calls.ts';
import { mountSmallDisk } from './support/small-disk.ts';
import { startSpanReceiver } from './support/span-receiver.ts';
import { type MeshOptions, OPEN_POLICY, spiffe, startTestMesh, type TestMesh } from './support/test-mesh.ts';

/** A busy machine takes its time. */
const waitFor = <T>(check: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(check, { timeout: 10_000, interval: 20 });
const UNARY = 'testing.echo.v1.EchoService/Unary';
const after: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of after.splice(0).toReversed()) await each();
});

async function startAuditedMesh(policy: object = {}, options: MeshOptions = {}): Promise<TestMesh> {
  const mesh = await startTestMesh({ policy: policyWith(policy), audit: {}, ...options });
  after.push(mesh.stop);
  return mesh;
}

/** The open policy with an audit section. */
function policyWith(audit: object): string {
  return stringify({ ...(parse(OPEN_POLICY) as object), audit });
}

async function recordsIn(mesh: TestMesh): Promise<AuditRecord[]> {
  const records: AuditRecord[] = [];
  for await (const { content } of readEntries(join(mesh.folder, 'audit-0')))
    if (content.$case === 'record') records.push(content.value);
  return records;
}

function untilRecorded(mesh: TestMesh, count: number): Promise<AuditRecord[]> {
  return waitFor(async () => {
    const records = await recordsIn(mesh);
    expect(records.length).toBeGreaterThanOrEqual(count);
    return records;
  });
}

function traced(): { traceId: string; metadata: { traceparent: string } } {
  const traceId = randomBytes(16).toString('hex');
  return { traceId, metadata: { traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-01` } };
}

test('one refused call has the same ids in its status, its span, its audit record and the decision list', async () => {
  const receiver = await startSpanReceiver();
  after.push(() => receiver.close());
  const mesh = await startAuditedMesh({}, { otlpEndpoint: receiver.endpoint });
  const { traceId, metadata } = traced();
  const client = await mesh.clientAs('picky');
  const { code, details } = await run(client, 'unary', [{ model: 'large-1' }], { metadata });
  expect(code).toBe(status.PERMISSION_DENIED);
  const told = details.errorInfo?.metadata ?? {};
  const [span] = await receiver.received(traceId, 1);
  const [record] = await untilRecorded(mesh, 1);
  const [decision] = await listDecisions(mesh.inbound);
  const ids = { decisionId: told['decision_id'], traceId, policyVersion: told['policy_version'] };
  expect(ids.decisionId).toMatch(/^[0-9a-f]{10}-/);
  expect(told['trace_id']).toBe(traceId);
  expect(record).toMatchObject(ids);
  expect(decision).toMatchObject(ids);
  expect({
    decisionId: span?.attributes['gatehouse.policy.decision_id'],
    traceId: span?.traceId,
    policyVersion: span?.attributes['gatehouse.policy.version'],
  }).toEqual(ids);
  expect(record).toMatchObject({
    caller: { identity: spiffe('picky'), tokenIssuer: '', claims: {} },
    workload: spiffe('callee'),
    method: UNARY,
    model: 'large-1',
    allowed: false,
    reason: details.errorInfo?.reason,
    outcome: { status: status.PERMISSION_DENIED, requestMessages: 1, responseMessages: 0 },
  });
});

test('an allowed call has its record with the status of the app and what came and went', async () => {
  const mesh = await startAuditedMesh();
  await run(mesh.client(), 'serverStream', [{ count: 3, text: 'x' }]);
  await run(mesh.client(), 'unary', [{ failCode: status.NOT_FOUND }]);
  const cancelled = startCall(mesh.client(), 'serverStream', [{ count: 1000, delayMs: 10, text: 'x' }]);
  await cancelled.firstAnswer;
  cancelled.cancel();
  const records = await untilRecorded(mesh, 3);
  expect(records).toMatchObject([
    {
      allowed: true,
      ruleId: 'caller-may-echo',
      reason: '',
      outcome: { status: status.OK, responseMessages: 3 },
    },
    { allowed: true, reason: '', outcome: { status: status.NOT_FOUND } },
    { allowed: true, reason: '', outcome: { status: status.CANCELLED } },
  ]);
  const [{ started, ended } = {}] = records;
  expect(ended?.getTime()).toBeGreaterThanOrEqual(started?.getTime() ?? Number.NaN);
});

test('of allowed calls policy says how many are recorded; refused ones always are', async () => {
  const mesh = await startAuditedMesh({ allowedSampleRatio: 0 });
  const client = await mesh.clientAs('picky');
  await run(client, 'unary', [{ model: 'small-1' }]);
  await run(client, 'unary', [{ model: 'large-1' }]);
  await run(client, 'unary', [{ model: 'small-1' }]);
  await run(client, 'unary', [{ model: 'large-2' }]);
  await mesh.inbound.drain();
  expect((await recordsIn(mesh)).map(({ model }) => model)).toEqual(['large-1', 'large-2']);
});

test('a stream that asks for another model in its middle has a record for each decision', async () => {
  const mesh = await startAuditedMesh();
  const client = await mesh.clientAs('picky');
  const { code } = await run(client, 'bidi', [
    { model: 'small-1' },
    { model: 'small-2' },
    { model: 'large' },
  ]);
  expect(code).toBe(status.PERMISSION_DENIED);
  const records = await untilRecorded(mesh, 3);
  expect(records.map(({ model, allowed, outcome }) => [model, allowed, outcome?.decidedAgain])).toEqual([
    ['small-1', true, true],
    ['small-2', true, true],
    ['large', false, false],
  ]);
  expect(new Set(records.map(({ decisionId }) => decisionId)).size).toBe(3);
});

test('an answer that waits for its record comes when that is on disk, whatever the call and its end', async () => {
  const mesh = await startAuditedMesh({ answerWaits: true }, { audit: { groupMsMax: 1000 } });
  const picky = await mesh.clientAs('picky');
  const seen: string[] = [];
  for (const [client, kind, request] of [
    [mesh.client(), 'unary', { text: 'a' }],
    [mesh.client(), 'serverStream', { count: 5, text: 'b' }],
    [mesh.client(), 'bidi', { text: 'c' }],
    [mesh.client(), 'unary', { failCode: status.NOT_FOUND }],
    [picky, 'unary', { model: 'large' }],
  ] as const) {
    const { traceId, metadata } = traced();
    const { code } = await run(client, kind, [request], { metadata });
    const record = (await recordsIn(mesh)).find((each) => each.traceId === traceId);
    expect(record?.outcome?.status).toBe(code);
    seen.push(record?.decisionId ?? '');
  }
  expect(new Set(seen).size).toBe(5);
});

test('a hundred calls at once wait for a few writes, not for a hundred', async () => {
  const mesh = await startAuditedMesh({ answerWaits: true });
  const client = await mesh.clientAs('caller');
  const answers = await Promise.all(Array.from({ length: 100 }, () => run(client, 'unary', [{ text: 'x' }])));
  expect(answers.every(({ code }) => code === status.OK)).toBe(true);
  expect((await recordsIn(mesh)).length).toBe(100);
  const metrics = await mesh.metrics(mesh.inbound);
  expect(metrics).toMatch(/^gatehouse_audit_records_total\{result="written"\} 100$/m);
  const writes = Number(/^gatehouse_audit_writes_total (\d+)$/m.exec(metrics)?.[1]);
  expect(writes).toBeLessThan(60);
});

test('on a full disk calls are refused, readiness says why, and all is well when there is room', async ({
  skip,
}) => {
  const mesh = await startAuditedMesh({}, { audit: { retryMs: 20 } });
  const client = await mesh.clientAs('caller');
  await mesh.inbound.drain();
  const disk = await mountSmallDisk(join(mesh.folder, 'audit-0'), 256);
  if (disk === null) return skip('mounting a file system takes privileges');
  after.push(disk.unmount, () => mesh.inbounds[0]?.drain());
  await mesh.restartInbound(0);
  const inbound = mesh.inbounds[0] as TestMesh['inbound'];
  expect((await run(client, 'unary', [{}])).code).toBe(status.OK);
  await disk.fill();
  let calls = 0;
  let refused: Awaited<ReturnType<typeof run>>;
  do {
    refused = await run(client, 'unary', [{}]);
    calls += 1;
  } while (refused.code === status.OK && calls < 5000);
  expect(refused).toMatchObject({
    code: status.UNAVAILABLE,
    details: { errorInfo: { reason: 'AUDIT_UNAVAILABLE' }, retryDelayMs: 1000 },
  });
  const ready = await fetch(`http://${inbound.telemetryAddress}/readyz`);
  expect([ready.status, await ready.text()]).toEqual([
    503,
    expect.stringMatching(/^audit records cannot be written: ENOSPC/),
  ]);
  expect(await mesh.metrics(inbound)).toMatch(/^gatehouse_audit_failing 1$/m);
  await disk.free();
  await waitFor(async () => expect((await run(client, 'unary', [{}])).code).toBe(status.OK));
  expect((await fetch(`http://${inbound.telemetryAddress}/readyz`)).status).toBe(200);
  await inbound.drain();
  expect((await verifyChain(join(mesh.folder, 'audit-0'))).problems).toEqual([]);
  // Every call that was let in has its record, in the time of the full disk, too.
  expect((await recordsIn(mesh)).filter(({ reason }) => reason === '').length).toBeGreaterThanOrEqual(calls);
});

test('an answer whose record the disk does not take is withheld, and the record says so in the end', async ({
  skip,
}) => {
  const mesh = await startAuditedMesh({ answerWaits: true }, { audit: { retryMs: 20 } });
  const client = await mesh.clientAs('caller');
  await mesh.inbound.drain();
  const disk = await mountSmallDisk(join(mesh.folder, 'audit-0'), 256);
  if (disk === null) return skip('mounting a file system takes privileges');
  after.push(disk.unmount, () => mesh.inbounds[0]?.drain());
  await mesh.restartInbound(0);
  const { traceId, metadata } = traced();
  const stream = startCall(client, 'serverStream', [{ count: 100, delayMs: 10, text: 'x' }], { metadata });
  await stream.firstAnswer;
  await disk.fill();
  await waitFor(async () => expect((await run(client, 'unary', [{}])).code).toBe(status.UNAVAILABLE));
  expect(await stream.ended).toMatchObject({
    code: status.UNAVAILABLE,
    answers: { length: 100 },
    details: { errorInfo: { reason: 'AUDIT_UNAVAILABLE' } },
  });
  await disk.free();
  await waitFor(async () =>
    expect((await recordsIn(mesh)).find((record) => record.traceId === traceId)).toMatchObject({
      allowed: true,
      reason: 'AUDIT_UNAVAILABLE',
      outcome: { status: status.UNAVAILABLE, responseMessages: 100 },
    }),
  );
});

test('where policy lets calls go on, a full disk loses records, loudly, and the chain says how many', async ({
  skip,
}) => {
  const audit = { retryMs: 20, recordsWaitingMax: 10 };
  const mesh = await startAuditedMesh({ onFailure: 'CONTINUE', answerWaits: true }, { audit });
  const client = await mesh.clientAs('caller');
  await mesh.inbound.drain();
  const disk = await mountSmallDisk(join(mesh.folder, 'audit-0'), 256);
  if (disk === null) return skip('mounting a file system takes privileges');
  after.push(disk.unmount, () => mesh.inbounds[0]?.drain());
  await mesh.restartInbound(0);
  const inbound = mesh.inbounds[0] as TestMesh['inbound'];
  await disk.fill();
  await waitFor(async () => {
    expect((await run(client, 'unary', [{}])).code).toBe(status.OK);
    expect(await mesh.metrics(inbound)).toMatch(/^gatehouse_audit_records_total\{result="lost"\} [1-9]/m);
  });
  const ready = await fetch(`http://${inbound.telemetryAddress}/readyz`);
  expect([ready.status, await ready.text()]).toEqual([
    200,
    expect.stringMatching(/^ready\naudit records cannot be written: ENOSPC/),
  ]);
  await disk.free();
  await waitFor(async () => {
    const lost: bigint[] = [];
    for await (const { content } of readEntries(join(mesh.folder, 'audit-0')))
      if (content.$case === 'lost') lost.push(content.value.records);
    expect(lost[0]).toBeGreaterThan(0n);
  });
});

test('a policy that wants records where there is no folder for them lets no call in', async () => {
  const mesh = await startTestMesh({ policy: policyWith({ allowedSampleRatio: 1 }) });
  after.push(mesh.stop);
  const ended = await run(await mesh.clientAs('caller'), 'unary', [{}]);
  expect(ended).toMatchObject({
    code: status.UNAVAILABLE,
    details: { errorInfo: { reason: 'AUDIT_UNAVAILABLE' } },
  });
  const ready = await fetch(`http://${mesh.inbound.telemetryAddress}/readyz`);
  expect(await ready.text()).toBe(
    'policy asks for audit records, and the configuration has no audit folder\n',
  );
});

test('a sidecar does not start on a broken chain: it names the file, the entry and its place', async () => {
  const mesh = await startAuditedMesh({ answerWaits: true });
  const client = await mesh.clientAs('caller');
  for (let i = 0; i < 5; i++) await run(client, 'unary', [{}]);
  await mesh.inbound.drain();
  const file = join(mesh.folder, 'audit-0', 'segment-0000000000000001.gha');
  const data = await readFile(file);
  data[100] = (data[100] as number) ^ 1;
  await writeFile(file, data);
  await expect(mesh.restartInbound(0)).rejects.toThrow(
    `${file}: entry 1 changed (segment-0000000000000001.gha, offset 0); expected a whole entry that follows the one before it`,
  );
});

test('entries and signed checkpoints leave for a collector, and the last checkpoint verifies the chain', async () => {
  const collector = await startRawCollector('logs.v1.LogsService');
  after.push(() => collector.close());
  const { privatePem, publicPem } = generateSigningKey();
  const audit: Record<string, string> = { otlpEndpoint: collector.endpoint };
  const mesh = await startAuditedMesh({}, { audit });
  const client = await mesh.clientAs('picky');
  await mesh.inbound.drain();
  audit['signingKeyFile'] = join(mesh.folder, 'audit.key');
  await writeFile(audit['signingKeyFile'], privatePem);
  await mesh.restartInbound(0);
  const { details } = await run(client, 'unary', [{ model: 'large' }]);
  await mesh.inbounds[0]?.drain();
  const jws = await readFile(join(mesh.folder, 'audit-0', 'checkpoint.jws'), 'utf8');
  await collector.received(
    'gatehouse.audit.record',
    details.errorInfo?.metadata?.['decision_id'] ?? 'none',
    'gatehouse.audit.checkpoint',
    jws.trim(),
  );
  const key = readVerifyingKey(publicPem);
  if (typeof key === 'string') throw new Error(key);
  const checkpoint = await readCheckpoint(jws, key);
  if (typeof checkpoint === 'string') throw new Error(checkpoint);
  const report = await verifyChain(join(mesh.folder, 'audit-0'), { signed: [checkpoint] });
  expect(report).toMatchObject({ problems: [], lastSequence: checkpoint.sequence });
  const other = readVerifyingKey(generateSigningKey().publicPem);
  expect(typeof other === 'string' ? other : await readCheckpoint(jws, other)).toBe(
    'its signature is not of this key',
  );
});
