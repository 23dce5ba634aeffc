import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { parse, stringify } from 'yaml';
import { getConfig, listDecisions } from './support/admin.ts';
import { run, startCall } from './support/calls.ts';
import { OPEN_POLICY, spiffe, startTestMesh, type TestMesh } from './support/test-mesh.ts';

let mesh: TestMesh;
beforeEach(async () => {
  mesh = await startTestMesh();
});
afterEach(async () => {
  await mesh.stop();
});

/** The policy of the mesh with another version, and with these rules besides. */
function policyOf(version: string, ...rules: readonly object[]): string {
  const document = parse(OPEN_POLICY) as { rules: object[] };
  return stringify({ ...document, version, rules: [...document.rules, ...rules] });
}

async function writePolicy(text: string): Promise<void> {
  const file = join(mesh.folder, 'policy.yaml');
  await writeFile(`${file}.new`, text);
  await rename(`${file}.new`, file);
}

async function untilVersion(version: string): Promise<void> {
  await vi.waitFor(
    async () => expect((await getConfig(mesh.inbound)).policyVersion).toMatch(`${version}@`),
    5_000,
  );
}

test('a new document decides the next call of a connection that is open, and leaves its calls in progress alone', async () => {
  const client = mesh.client();
  const stream = startCall(client, 'serverStream', [{ count: 60, delayMs: 10, text: 'x' }]);
  await stream.firstAnswer;
  const [connectionsBefore] =
    (await mesh.metrics(mesh.inbound)).match(/gatehouse_connections_accepted_total\{.*/) ?? [];
  const deny = {
    id: 'caller-has-left',
    effect: 'DENY',
    identities: [spiffe('caller')],
    methods: ['testing.echo.v1.EchoService/Unary'],
  };
  await writePolicy(policyOf('test-2', deny));
  await untilVersion('test-2');
  const refused = await run(client, 'unary', [{ text: 'x' }]);
  expect(refused.code).toBe(status.PERMISSION_DENIED);
  expect(refused.details.errorInfo).toMatchObject({
    reason: 'DENIED_BY_RULE',
    metadata: { rule: 'caller-has-left', policy_version: expect.stringMatching(/^test-2@/) },
  });
  expect(await stream.ended).toMatchObject({ code: status.OK, answers: { length: 60 } });

  await writePolicy(policyOf('test-3'));
  await untilVersion('test-3');
  expect((await run(client, 'unary', [{ text: 'x' }])).code).toBe(status.OK);
  const metrics = await mesh.metrics(mesh.inbound);
  expect(metrics).toContain(connectionsBefore);
  expect(metrics).toMatch(/gatehouse_policy_info\{version="test-3@[0-9a-f]+"\} 1/);
  expect(metrics).not.toContain('version="test-2@');
});

test('a document with one mistake is refused whole: the last good one stays, and admin and metrics say why', async () => {
  const loadedAt = (metrics: string) => metrics.match(/^gatehouse_policy_loaded_timestamp_seconds .*/m)?.[0];
  const before = loadedAt(await mesh.metrics(mesh.inbound));
  const good = {
    id: 'stranger-may-echo',
    effect: 'ALLOW',
    identities: [spiffe('stranger')],
    permissions: ['echo.call'],
  };
  const bad = {
    id: 'typo',
    effect: 'ALLOW',
    identities: [spiffe('caller')],
    permissions: ['echo.cal'],
    model: ['x'],
  };
  const text = policyOf('test-2', good, bad);
  await writePolicy(text);
  await vi.waitFor(
    async () => expect(await mesh.metrics(mesh.inbound)).toMatch(/^gatehouse_policy_refused 1$/m),
    5_000,
  );

  const { policyVersion, policyError } = await getConfig(mesh.inbound);
  expect(policyVersion).toMatch(/^test-1@/);
  const lineOf = (part: string) => text.slice(0, text.indexOf(part)).split('\n').length;
  const file = join(mesh.folder, 'policy.yaml');
  expect(policyError).toContain(`${file}:${lineOf('echo.cal\n')}:`);
  expect(policyError).toContain('rules[4].permissions[0]: ');
  expect(policyError).toContain('"echo.cal"');
  expect(policyError).toContain(`${file}:${lineOf('model:')}:`);
  expect(policyError).toContain('rules[4].model: unknown key');
  // Nothing of it is in force, the good rule of it neither.
  expect((await run(await mesh.clientAs('stranger'), 'unary', [{}])).code).toBe(status.PERMISSION_DENIED);
  expect((await run(mesh.client(), 'unary', [{}])).code).toBe(status.OK);
  expect(loadedAt(await mesh.metrics(mesh.inbound))).toBe(before);

  await writePolicy(policyOf('test-3', good));
  await untilVersion('test-3');
  expect(await getConfig(mesh.inbound)).toMatchObject({ policyError: '' });
  expect(await mesh.metrics(mesh.inbound)).toMatch(/^gatehouse_policy_refused 0$/m);
  expect((await run(await mesh.clientAs('stranger'), 'unary', [{}])).code).toBe(status.OK);
});

test.each([
  ['that is no YAML', 'rules: [', 'not YAML'],
  ['that is empty', '', 'missing'],
])('a document %s is refused, and calls go on', async (_what, text, why) => {
  await writePolicy(text);
  await vi.waitFor(async () => expect((await getConfig(mesh.inbound)).policyError).toContain(why), 5_000);
  expect((await run(mesh.client(), 'unary', [{}])).code).toBe(status.OK);
});

test('a refusal names its decision, and the decision list has it under that name with the same rule', async () => {
  const deny = {
    id: 'no-large-models',
    effect: 'DENY',
    identities: ['spiffe://test.gatehouse/**'],
    permissions: ['echo.call'],
    models: ['large-*'],
  };
  await writePolicy(policyOf('test-2', deny));
  await untilVersion('test-2');
  const ended = await run(await mesh.clientAs('picky'), 'unary', [
    { model: 'large-1', text: 'secret words' },
  ]);
  const metadata = ended.details.errorInfo?.metadata ?? {};
  expect(metadata).toMatchObject({
    rule: 'no-large-models',
    identity: spiffe('picky'),
    method: 'testing.echo.v1.EchoService/Unary',
  });
  const record = (await listDecisions(mesh.inbound)).find(
    ({ decisionId }) => decisionId === metadata['decision_id'],
  );
  expect(record).toMatchObject({
    allowed: false,
    ruleId: 'no-large-models',
    reason: 'DENIED_BY_RULE',
    identity: spiffe('picky'),
    method: 'testing.echo.v1.EchoService/Unary',
    model: 'large-1',
    policyVersion: metadata['policy_version'],
    traceId: metadata['trace_id'],
  });
  expect(JSON.stringify(record)).not.toContain('secret');
});
