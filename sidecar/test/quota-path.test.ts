import { once } from 'node:events';
import { rename, writeFile } from 'node:fs/promises';
import { createServer, constants as http2, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { GenerateResponse } from '@gatehouse/contracts/inference';
import { status } from '@grpc/grpc-js';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { getConfig, listDecisions } from './support/admin.ts';
import { startCall } from './support/calls.ts';
import { type Generated, generatorAs } from './support/generate-calls.ts';
import { readMetrics } from './support/read-metrics.ts';
import { findRedisServer, type RedisServer, startRedisServer } from './support/redis-server.ts';
import {
  type MeshOptions,
  OPEN_POLICY,
  spiffe,
  startTestMesh,
  type TestMesh,
  TRUST_DOMAIN,
} from './support/test-mesh.ts';
import { startTokenApp, type TokenApp } from './support/token-app.ts';

function policyOf(
  limits: readonly object[],
  more: { version?: string; rules?: object[]; jwtIssuers?: object[] } = {},
) {
  return stringify({
    version: 'quota-1',
    trustDomains: [TRUST_DOMAIN],
    rules: [
      {
        id: 'anyone-may-generate',
        effect: 'ALLOW',
        identities: [`spiffe://${TRUST_DOMAIN}/**`],
        permissions: ['inference.generate', 'inference.count'],
      },
    ],
    limits,
    ...more,
  });
}

let app: TokenApp;
let mesh: TestMesh;
beforeAll(async () => {
  app = await startTokenApp();
});
afterAll(() => app.stop());
afterEach(async () => {
  await mesh.stop();
});

async function start(limits: readonly object[], more: MeshOptions = {}): Promise<void> {
  mesh = await startTestMesh({ contract: {}, app: app.address, policy: policyOf(limits), ...more });
}

const delivered = ({ outputs }: Generated): number => outputs.at(-1) ?? 0;

describe('a stream', () => {
  test('ends in its middle when its tokens are used up: not one more is delivered, and the app stops', async () => {
    await start([{ id: 'minute', per: ['identity'], tokensPerMinute: 50, whenShort: 'SHRINK' }]);
    const generate = await generatorAs(mesh, 'caller');
    const cancelledBefore = app.counts.cancelled;
    const ended = await generate.run({ input: 5, deltas: 500, pauseMs: 1 });
    expect(ended.outputs).toEqual(Array.from({ length: 45 }, (_, i) => i + 1));
    expect(ended.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(ended.message).toContain('has used up the limit minute of 50 tokens per minute');
    expect(ended.details.quotaFailure).toEqual([
      { subject: `identity ${spiffe('caller')}`, description: 'limit minute: 50 tokens per minute' },
    ]);
    expect(ended.details.errorInfo).toMatchObject({
      reason: 'QUOTA_USED_UP',
      metadata: { rule: 'anyone-may-generate', policy_version: expect.stringMatching(/^quota-1@/) },
    });
    const [decision] = await listDecisions(mesh.inbound, { limit: 1 });
    expect(decision?.decisionId).toBe(ended.details.errorInfo?.metadata?.['decision_id']);
    await vi.waitFor(() => expect(app.counts.cancelled).toBe(cancelledBefore + 1));

    const next = await generate.run({ input: 5, deltas: 10, maxTokens: 10 });
    expect(next).toMatchObject({ code: status.RESOURCE_EXHAUSTED, outputs: [] });
    expect(next.details.errorInfo?.reason).toBe('QUOTA_EXCEEDED');
    expect(next.details.retryDelayMs).toBeGreaterThan(50_000);
    expect(next.details.retryDelayMs).toBeLessThanOrEqual(61_000);
    // Another identity has an account of its own.
    const other = await generatorAs(mesh, 'other');
    expect((await other.run({ input: 5, deltas: 10, maxTokens: 10 })).code).toBe(status.OK);
  });

  test('gets no message that would go beyond, however many tokens it brings', async () => {
    await start([{ id: 'minute', tokensPerMinute: 50, whenShort: 'SHRINK' }]);
    const generate = await generatorAs(mesh, 'caller');
    const ended = await generate.run({ input: 10, deltas: [20, 21, 1, 1], maxTokens: 100 });
    expect(ended).toMatchObject({ code: status.RESOURCE_EXHAUSTED, outputs: [20] });
  });

  test('that says nothing of its length goes on beyond what was reserved for it, while there is more', async () => {
    await start([{ id: 'minute', tokensPerMinute: 1000 }], { limits: { outputTokensDefault: 16 } });
    const generate = await generatorAs(mesh, 'caller');
    const ended = await generate.run({ input: 5, deltas: 300 });
    expect(ended).toMatchObject({ code: status.OK, outputs: { length: 300 } });
    const metrics = readMetrics(await mesh.metrics(mesh.inbound));
    expect(metrics.value('gatehouse_quota_tokens_total', { limit: 'minute' })).toBe(305);
  });

  test('of several side by side gets what the others leave, and together they get no more than the limit', async () => {
    await start([{ id: 'minute', tokensPerMinute: 600, whenShort: 'SHRINK' }], {
      limits: { outputTokensDefault: 16 },
    });
    const generate = await generatorAs(mesh, 'caller');
    const runs = Array.from({ length: 16 }, () => generate.run({ input: 2, deltas: 100, pauseMs: 1 }));
    const ended = await Promise.all(runs);
    const started = ended.filter(({ outputs }) => outputs.length > 0);
    const total = started.reduce((sum, each) => sum + 2 + delivered(each), 0);
    expect(total).toBeLessThanOrEqual(600);
    expect(total).toBeGreaterThan(500);
    expect(ended.some(({ details }) => details.errorInfo?.reason === 'QUOTA_USED_UP')).toBe(true);
  });
});

describe('what a call has reserved and not used goes back', () => {
  // The text of the prompt is bound for as many tokens as it has bytes.
  const limits = [{ id: 'minute', tokensPerMinute: 1500, concurrentCalls: 1 }];

  test('when it ends', async () => {
    await start(limits);
    const generate = await generatorAs(mesh, 'caller');
    for (let i = 0; i < 3; i++) {
      const ended = await generate.unary({ input: 5, deltas: [10], maxTokens: 1000 });
      expect(ended).toMatchObject({ code: status.OK, outputs: [10] });
    }
  });

  test('when its caller leaves', async () => {
    await start(limits);
    const generate = await generatorAs(mesh, 'caller');
    for (let i = 0; i < 3; i++) {
      const running = generate.start({ input: 5, deltas: 200, pauseMs: 5, maxTokens: 800 });
      await vi.waitFor(() => expect(running.outputs.length).toBeGreaterThan(2));
      const second = await generate.run({ input: 1, deltas: [1], maxTokens: 1 });
      expect(second.message).toContain('1 concurrent calls');
      running.cancel();
      expect((await running.ended).code).toBe(status.CANCELLED);
      await vi.waitFor(async () =>
        expect((await generate.run({ input: 1, deltas: [1], maxTokens: 1 })).code).toBe(status.OK),
      );
    }
  });

  test('when the app was never reached; and a try that was not processed costs nothing twice', async () => {
    let tries = 0;
    const server = createServer();
    server.on('stream', (stream: ServerHttp2Stream) => {
      tries += 1;
      stream.on('error', () => {});
      if (tries === 1) {
        stream.close(http2.NGHTTP2_REFUSED_STREAM);
        return;
      }
      const completion = { usage: { inputTokens: 5, outputTokens: 95 } };
      const message = GenerateResponse.encode(GenerateResponse.fromPartial({ completion })).finish();
      const head = Buffer.alloc(5);
      head.writeUInt32BE(message.length, 1);
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.concat([head, message]));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const rate = { id: 'rate', requests: { perSecond: 0.001, burst: 2 } };
      await start([rate, { id: 'minute', tokensPerMinute: 300 }], { app: address });
      const generate = await generatorAs(mesh, 'caller');
      const ended = await generate.unary({ input: 5, deltas: [95], maxTokens: 100 });
      expect(ended).toMatchObject({ code: status.OK, outputs: [95] });
      expect(tries).toBe(2);
      const metrics = readMetrics(await mesh.metrics(mesh.inbound));
      expect(metrics.value('gatehouse_quota_tokens_total', { limit: 'minute' })).toBe(100);
      expect(metrics.value('gatehouse_quota_admitted_total', { limit: 'rate' })).toBe(1);
    } finally {
      server.close();
    }
  });
});

describe('limits', () => {
  test('that a claim has accounts of are one for each tenant, and a claim that is no text is refused', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256');
    const jwk = { ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' };
    await start([]);
    const jwksFile = join(mesh.folder, 'jwks.json');
    await writeFile(jwksFile, JSON.stringify({ keys: [jwk] }));
    const issuer = {
      name: 'people',
      issuer: 'https://people',
      audiences: ['mesh'],
      algorithms: ['ES256'],
      jwksFile,
    };
    await replacePolicy(
      policyOf([{ id: 'tenant', per: ['claim:tenant'], tokensPerMinute: 100 }], {
        version: 'quota-2',
        jwtIssuers: [issuer],
      }),
    );
    const bearerOf = (tenant: unknown) =>
      new SignJWT({ tenant })
        .setProtectedHeader({ alg: 'ES256', kid: 'k' })
        .setIssuer('https://people')
        .setAudience('mesh')
        .setExpirationTime('5m')
        .sign(privateKey);
    const generate = await generatorAs(mesh, 'caller');
    const ask = { input: 5, deltas: [20], maxTokens: 20 };
    for (const tenant of ['acme', 'globex']) {
      const bearer = await bearerOf(tenant);
      expect((await generate.unary({ ...ask, bearer })).code).toBe(status.OK);
      const again = await generate.unary({ ...ask, bearer });
      expect(again.details.quotaFailure?.[0]?.subject).toBe(`claim tenant ${tenant}`);
    }
    const odd = await generate.unary({ ...ask, bearer: await bearerOf(['acme', 'other']) });
    expect(odd.code).toBe(status.PERMISSION_DENIED);
    expect(odd.details.errorInfo?.reason).toBe('QUOTA_CLAIM_UNUSABLE');
    const metrics = await mesh.metrics(mesh.inbound);
    expect(metrics).not.toMatch(/acme|globex/);
    expect(
      readMetrics(metrics).value('gatehouse_quota_refused_total', { limit: 'tenant', short: 'claim' }),
    ).toBe(1);
  });

  test('go on counting when a new policy comes, under their ids', async () => {
    await start([{ id: 'minute', tokensPerMinute: 100 }]);
    const generate = await generatorAs(mesh, 'caller');
    const ask = { input: 0, deltas: [20], maxTokens: 20 };
    expect((await generate.unary(ask)).code).toBe(status.OK);
    await replacePolicy(policyOf([{ id: 'minute', tokensPerMinute: 101 }], { version: 'quota-2' }));
    const refused = await generate.unary(ask);
    expect(refused.message).toContain('101 tokens per minute');
    await replacePolicy(policyOf([{ id: 'other', tokensPerMinute: 100 }], { version: 'quota-3' }));
    expect((await generate.unary(ask)).code).toBe(status.OK);
  });

  test('of tokens leave alone what is not counted in them', async () => {
    await start([{ id: 'minute', tokensPerMinute: 1 }]);
    const generate = await generatorAs(mesh, 'caller');
    expect((await generate.unary({ input: 1, deltas: [1] })).message).toContain(
      'there is never room for as many',
    );
    const metrics = readMetrics(await mesh.metrics(mesh.inbound));
    expect(metrics.value('gatehouse_quota_use_ratio', { limit: 'minute' })).toBe(0);
  });

  test('by model keep a stream of requests to the model that it began with', async () => {
    const limit = { id: 'large', match: { models: ['large-*'] }, concurrentCalls: 1 };
    mesh = await startTestMesh({ policy: `${OPEN_POLICY}limits: ${JSON.stringify([limit])}\n` });
    const call = startCall(mesh.client(), 'bidi', [{ model: 'small-1', text: 'a' }], { keepOpen: true });
    await call.firstAnswer;
    call.send({ model: 'large-1', text: 'b' });
    const ended = await call.ended;
    expect(ended.code).toBe(status.INVALID_ARGUMENT);
    expect(ended.message).toContain('the model of the first message');
  });
});

async function replacePolicy(text: string): Promise<void> {
  const file = join(mesh.folder, 'policy.yaml');
  await writeFile(`${file}.new`, text);
  await rename(`${file}.new`, file);
  const version = /^version: (\S+)/m.exec(text)?.[1] ?? '';
  await vi.waitFor(
    async () => expect((await getConfig(mesh.inbound)).policyVersion).toMatch(`${version}@`),
    5_000,
  );
}

const redis = await findRedisServer();
const missing = 'missing' in redis ? redis.missing : '';
if (missing !== '' && process.env['CI'] === 'true') throw new Error(missing);

describe.skipIf(missing !== '')(`limits that sidecars share${missing && ` (not run: ${missing})`}`, () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedisServer((redis as { file: string }).file);
  });
  afterAll(async () => {
    await server.stop();
  });
  const shared = { store: 'SHARED', whenShort: 'SHRINK' };
  const readyz = async (): Promise<string> =>
    (await fetch(`http://${mesh.inbound.telemetryAddress}/readyz`)).text();

  test('hold over both: streams through one and the other get no more than the limit together', async () => {
    await start([{ id: 'minute', tokensPerMinute: 600, ...shared }], {
      inbounds: 2,
      limits: { outputTokensDefault: 64 },
      sharedLimits: { redis: { address: server.address }, keyPrefix: 'both' },
    });
    const generators = [await generatorAs(mesh, 'caller', 0), await generatorAs(mesh, 'caller', 1)];
    const runs = Array.from({ length: 16 }, (_, i) =>
      (generators[i % 2] as (typeof generators)[0]).run({ input: 2, deltas: 100, pauseMs: 2 }),
    );
    const ended = await Promise.all(runs);
    const started = ended.filter(({ outputs }) => outputs.length > 0);
    const total = started.reduce((sum, each) => sum + 2 + delivered(each), 0);
    expect(total).toBeLessThanOrEqual(600);
    expect(total).toBeGreaterThan(100);
    expect(ended.some(({ details }) => details.errorInfo?.reason?.startsWith('QUOTA_'))).toBe(true);
  });

  test('refuse or go on by themselves when the store is gone, end streams in time, and say so', async () => {
    await start(
      [
        { id: 'closed', match: { models: ['closed'] }, tokensPerMinute: 10_000, store: 'SHARED' },
        {
          id: 'open',
          match: { models: ['open'] },
          tokensPerMinute: 10_000,
          store: 'SHARED',
          onStoreFailure: 'LOCAL',
        },
      ],
      {
        sharedLimits: {
          redis: { address: server.address },
          keyPrefix: 'gone',
          leaseMs: 1000,
          answerMsMax: 500,
        },
      },
    );
    const generate = await generatorAs(mesh, 'caller');
    const long = { input: 5, deltas: 300, pauseMs: 10, maxTokens: 400 };
    const short = { input: 5, deltas: [5], maxTokens: 10 };
    const closed = generate.start({ ...long, model: 'closed' });
    const open = generate.start({ ...long, model: 'open' });
    await vi.waitFor(() => expect(Math.min(closed.outputs.length, open.outputs.length)).toBeGreaterThan(3));
    expect(await readyz()).toBe('ready\n');
    await server.kill();
    try {
      const ended = await closed.ended;
      expect(ended.code).toBe(status.UNAVAILABLE);
      expect(ended.details.errorInfo?.reason).toBe('QUOTA_STORE_UNAVAILABLE');
      const refused = await generate.unary({ ...short, model: 'closed' });
      expect(refused).toMatchObject({ code: status.UNAVAILABLE, details: { retryDelayMs: 1000 } });
      expect((await generate.unary({ ...short, model: 'open' })).code).toBe(status.OK);
      expect(await readyz()).toMatch(/^ready\nthe store of shared limits cannot be asked: /);
      const metrics = readMetrics(await mesh.metrics(mesh.inbound));
      expect(metrics.value('gatehouse_quota_store_up', {})).toBe(0);
      expect(metrics.value('gatehouse_quota_counted_locally_total', { limit: 'open' })).toBe(1);
      expect(metrics.value('gatehouse_quota_refused_total', { limit: 'closed', short: 'store' })).toBe(1);
    } finally {
      await server.start();
    }
    await vi.waitFor(async () => expect(await readyz()).toBe('ready\n'), { timeout: 5000, interval: 50 });
    expect((await generate.unary({ ...short, model: 'closed' })).code).toBe(status.OK);
    expect(await open.ended).toMatchObject({ code: status.OK, outputs: { length: 300 } });
  });
});
