import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterEach, expect, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { signPolicy } from '../src/config/policy-signature.ts';
import { explain, getConfig, listDecisions } from './support/admin.ts';
import { run, startCall } from './support/calls.ts';
import { type SpanReceiver, startSpanReceiver } from './support/span-receiver.ts';
import { spiffe, startTestMesh, type TestMesh, TRUST_DOMAIN } from './support/test-mesh.ts';

const UNARY = 'testing.echo.v1.EchoService/Unary';
const OVERLAY = `fields:
  testing.echo.v1.EchoRequest.count: { role: OUTPUT_TOKENS_LIMIT }
  testing.echo.v1.EchoRequest.delayMs: { role: PRIORITY }
`;

let mesh: TestMesh | undefined;
let receiver: SpanReceiver | undefined;
afterEach(async () => {
  await mesh?.stop();
  receiver?.close();
  mesh = receiver = undefined;
});

function policyOf(version: string, rules: readonly object[], more: object = {}): string {
  return stringify({ version, trustDomains: [TRUST_DOMAIN], rules, ...more });
}

const allow = (id: string, more: object = {}): object => ({
  id,
  effect: 'ALLOW',
  identities: [spiffe('caller')],
  permissions: ['echo.call'],
  ...more,
});

const until = (check: () => Promise<void>): Promise<void> => vi.waitFor(check, 10_000);

test('a condition is asked about what the request says, and of a stream about every message', async () => {
  mesh = await startTestMesh({
    overlay: OVERLAY,
    policy: policyOf('v', [allow('small', { condition: 'request.max_output_tokens <= 5' })]),
  });
  const client = mesh.client();
  expect((await run(client, 'unary', [{ count: 5 }])).code).toBe(status.OK);
  const refused = await run(client, 'unary', [{ count: 6 }]);
  expect(refused.code).toBe(status.PERMISSION_DENIED);
  expect(refused.message).toContain('the condition of rule "small" does not hold for it');
  expect(refused.details.errorInfo).toMatchObject({ reason: 'CONDITION_FALSE', metadata: { rule: 'small' } });
  expect((await run(client, 'unary', [{}])).details.errorInfo?.reason).toBe('CONDITION_FAILED');
  const stream = startCall(client, 'bidi', [{ count: 1 }], { keepOpen: true });
  await stream.firstAnswer;
  stream.send({ count: 6 });
  expect((await stream.ended).details.errorInfo?.reason).toBe('CONDITION_FALSE');
});

test('a refusal that a decision id names is asked again, and shown with the first thing that failed', async () => {
  mesh = await startTestMesh({
    overlay: OVERLAY,
    policy: policyOf('v', [
      allow('small', { condition: 'request.max_output_tokens <= 5', owner: 'ml', labels: { team: 'a' } }),
    ]),
  });
  const refused = await run(mesh.client(), 'unary', [{ count: 6 }]);
  const decisionId = refused.details.errorInfo?.metadata?.['decision_id'] ?? '';
  const answer = await explain(mesh.inbound, { decisionId });
  expect(answer).toMatchObject({
    allowed: false,
    identity: spiffe('caller'),
    method: UNARY,
    decided: { decisionId, reason: 'CONDITION_FALSE', ruleOwner: 'ml', ruleLabels: { team: 'a' } },
    rules: [
      {
        ruleId: 'small',
        effect: 'ALLOW',
        owner: 'ml',
        mismatch: 'The condition was false: `request.max_output_tokens <= 5`.',
      },
    ],
  });
  await expect(explain(mesh.inbound, { decisionId: 'gone' })).rejects.toThrow(
    'The decision gone is none of those',
  );
});

test('rules and a document in shadow decide and do not act: differences are in metric, decision list, span and explain', async () => {
  receiver = await startSpanReceiver();
  mesh = await startTestMesh({
    otlpEndpoint: receiver.endpoint,
    policy: policyOf('live', [
      allow('open'),
      { ...allow('no-big'), effect: 'DENY', models: ['big-*'], shadow: true },
      allow('guest', { identities: [spiffe('guest')], shadow: true }),
    ]),
    inboundConfig: async (file) => {
      const next = policyOf('next', [
        allow('open', { methods: [UNARY], permissions: undefined, models: ['small-*'] }),
      ]);
      await writeFile(file('next.yaml'), next);
      return { shadowPolicyFile: file('next.yaml') };
    },
  });
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const metadata = { traceparent: `00-${traceId}-b7ad6b7169203331-01` };
  expect((await run(mesh.client(), 'unary', [{ model: 'big-1' }], { metadata })).code).toBe(status.OK);
  expect((await run(mesh.client(), 'unary', [{ model: 'small-1' }])).code).toBe(status.OK);
  expect((await run(mesh.client(), 'unary', [{ model: 'other' }])).code).toBe(status.OK);
  expect((await run(await mesh.clientAs('guest'), 'unary', [{}])).code).toBe(status.PERMISSION_DENIED);

  const [guest, other, small, big] = await listDecisions(mesh.inbound);
  expect(big?.shadow).toMatchObject({ ruleId: 'no-big', wouldAllow: false, reason: 'DENIED_BY_RULE' });
  expect(big?.shadow?.policyVersion).toMatch(/^live@/);
  expect(small?.shadow).toBeUndefined();
  expect(other?.shadow).toMatchObject({ ruleId: '', wouldAllow: false, reason: 'MODEL_NOT_ALLOWED' });
  expect(other?.shadow?.policyVersion).toMatch(/^next@/);
  expect(guest?.shadow).toMatchObject({ ruleId: 'guest', wouldAllow: true, reason: '' });

  const metrics = await mesh.metrics(mesh.inbound);
  const counted = (who: string, would: string, total: number): void =>
    expect(metrics).toContain(
      `gatehouse_policy_shadow_differences_total{identity="${spiffe(who)}",rpc_method="${UNARY}",would="${would}"} ${total}`,
    );
  counted('caller', 'deny', 2);
  counted('guest', 'allow', 1);
  expect(metrics).toMatch(/gatehouse_policy_shadow_info\{version="next@/);

  expect(await explain(mesh.inbound, { decisionId: big?.decisionId ?? '' })).toMatchObject({
    allowed: true,
    shadow: { ruleId: 'no-big', wouldAllow: false },
  });
  const spans = await receiver.received(traceId, 2);
  expect(spans.find(({ kind }) => kind === '2')?.attributes).toMatchObject({
    'gatehouse.policy.decision': 'allow',
    'gatehouse.policy.shadow.decision': 'deny',
    'gatehouse.policy.shadow.rule': 'no-big',
  });

  // A bad document in shadow leaves the policy in force alone.
  await writeFile(join(mesh.folder, 'next.yaml'), 'version: [');
  const running = mesh;
  await until(async () =>
    expect(await running.metrics(running.inbound)).toContain(
      'gatehouse_policy_refused_reason{document="shadow",reason="INVALID"} 1',
    ),
  );
  expect((await run(mesh.client(), 'unary', [{ model: 'big-1' }])).code).toBe(status.OK);
});

test('policy in shadow refuses no bad token and no message, and holds up no stream', async () => {
  mesh = await startTestMesh({
    policy: policyOf(
      'v',
      [
        allow('open'),
        { ...allow('ask', { token: { issuer: 'staff' }, models: ['x'], shadow: true }), effect: 'DENY' },
      ],
      {
        jwtIssuers: [
          { name: 'staff', issuer: 'https://a', audiences: ['x'], algorithms: ['ES256'], jwksFile: '/none' },
        ],
      },
    ),
  });
  const client = mesh.client();
  for (const authorization of ['Bearer not.a.token', 'Basic nothing', `Bearer ${'x'.repeat(9000)}`])
    expect((await run(client, 'unary', [{ model: 'x' }], { metadata: { authorization } })).code).toBe(
      status.OK,
    );
  const stream = startCall(client, 'bidi', [], { keepOpen: true });
  stream.send({ text: 'late' });
  stream.end();
  expect((await stream.ended).code).toBe(status.OK);
});

test('what a document includes is followed with it', async () => {
  const rules = (condition: string): string => stringify({ rules: [allow('from-team', { condition })] });
  mesh = await startTestMesh({
    policy: policyOf('v', [], { includes: ['team.yaml'] }),
    inboundConfig: async (file) => {
      await writeFile(file('team.yaml'), rules('true'));
      return {};
    },
  });
  const running = mesh;
  const code = async () => (await run(running.client(), 'unary', [{}])).code;
  expect(await code()).toBe(status.OK);
  await writeFile(join(mesh.folder, 'team.yaml'), rules('false'));
  await until(async () => expect(await code()).toBe(status.PERMISSION_DENIED));
  await writeFile(join(mesh.folder, 'team.yaml'), rules('flase'));
  await until(async () =>
    expect((await getConfig(running.inbound)).policyError).toMatch(
      /team\.yaml:\d+:\d+: rules\[0\]\.condition/,
    ),
  );
  expect(await (await fetch(`http://${mesh.inbound.telemetryAddress}/metrics`)).text()).toContain(
    'gatehouse_policy_refused_reason{document="policy",reason="INVALID"} 1',
  );
  expect(await code()).toBe(status.PERMISSION_DENIED);
});

test('a sidecar with policySigners takes signed documents alone, and the last good one stays', async () => {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { extractable: true });
  const [open, secret] = [await exportJWK(publicKey), await exportJWK(privateKey)];
  const sign = async (file: string, key = secret): Promise<void> =>
    writeFile(`${file}.jws`, await signPolicy([{ file, text: await readFile(file, 'utf8') }], key));
  mesh = await startTestMesh({
    policy: policyOf('v1', [allow('open')]),
    inboundConfig: async (file) => {
      await writeFile(file('signers.json'), JSON.stringify({ keys: [open] }));
      await sign(file('policy.yaml'));
      return { policySigners: file('signers.json') };
    },
  });
  const running = mesh;
  const file = join(mesh.folder, 'policy.yaml');
  const refusedWith = (sentence: string): Promise<void> =>
    until(async () => {
      const config = await getConfig(running.inbound);
      expect(config.policyError).toContain(sentence);
      expect(config.policyVersion).toMatch(/^v1@/);
    });
  expect((await run(mesh.client(), 'unary', [{}])).code).toBe(status.OK);

  await writeFile(file, policyOf('v2', []));
  await refusedWith('the signature does not hold');
  const stranger = await exportJWK((await generateKeyPair('EdDSA', { extractable: true })).privateKey);
  await sign(file, stranger);
  await refusedWith('expected one of the keys of policySigners');
  await writeFile(`${file}.jws`, '');
  await refusedWith('expected a signature by one of the keys of');
  expect((await run(mesh.client(), 'unary', [{}])).code).toBe(status.OK);

  await sign(file);
  await until(async () => expect(await getConfig(running.inbound)).toMatchObject({ policyError: '' }));
  expect((await getConfig(mesh.inbound)).policyVersion).toMatch(/^v2@/);
  expect((await run(mesh.client(), 'unary', [{}])).code).toBe(status.PERMISSION_DENIED);
});

test('a token that is far too large is refused unread, and one with claims of another type by name', async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  mesh = await startTestMesh({
    inboundConfig: async (file) => {
      await writeFile(file('keys.json'), JSON.stringify({ keys: [await exportJWK(publicKey)] }));
      const issuer = {
        name: 'staff',
        issuer: 'https://a',
        audiences: ['x'],
        algorithms: ['ES256'],
        jwksFile: file('keys.json'),
      };
      const claims = { groups: 'STRING_LIST' };
      await writeFile(
        file('policy.yaml'),
        policyOf('v', [allow('ml', { condition: '"ml" in token.claims.groups' })], {
          jwtIssuers: [{ ...issuer, claims }],
        }),
      );
      return {};
    },
  });
  const client = mesh.client();
  const reason = async (token: string): Promise<string | undefined> => {
    const ended = await run(client, 'unary', [{}], {
      metadata: { authorization: `Bearer ${token}` },
      timeoutMs: 5_000,
    });
    return ended.code === status.OK ? 'OK' : ended.details.errorInfo?.reason;
  };
  const withGroups = (groups: unknown): Promise<string> =>
    new SignJWT({ groups })
      .setProtectedHeader({ alg: 'ES256' })
      .setIssuer('https://a')
      .setAudience('x')
      .setExpirationTime('1h')
      .sign(privateKey);
  expect(await reason(await withGroups(['ml']))).toBe('OK');
  expect(await reason(await withGroups('ml'))).toBe('TOKEN_CLAIMS_MALFORMED');
  expect(await reason(await withGroups(Array.from({ length: 1_100 }, () => 'g')))).toBe(
    'TOKEN_CLAIMS_MALFORMED',
  );
  expect(await reason(await withGroups(Array.from({ length: 3_000 }, () => 'g')))).toBe('TOKEN_TOO_LARGE');
  expect((await run(client, 'unary', [{}])).details.errorInfo?.reason).toBe('TOKEN_REQUIRED');
  // Ten thousand groups do not fit in the header list that a connection takes.
  const huge = await withGroups(Array.from({ length: 10_000 }, () => 'group-of-people'));
  expect(await reason(huge)).not.toBe('OK');
  expect(await reason(await withGroups(['ml']))).toBe('OK');
});
