import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { listCircuits, listDecisions } from './support/admin.ts';
import { type EchoClientType, type Ended, run } from './support/calls.ts';
import { spiffe, startTestMesh, type TestMesh, TRUST_DOMAIN } from './support/test-mesh.ts';

const ISSUER = 'https://people.example';
const BOUND_ISSUER = 'https://bound.example';

/** A signing key with its id and its public half, as an issuer publishes it. */
async function newKey(kid: string) {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' } };
}
type Key = Awaited<ReturnType<typeof newKey>>;

type Claims = {
  readonly iss?: string;
  readonly aud?: string;
  readonly expiresIn?: string;
  readonly [claim: string]: unknown;
};

/** A token that the policy accepts, but for the claims given. */
function sign(
  key: Key,
  { iss = ISSUER, aud = 'echo', expiresIn = '5m', ...claims }: Claims = {},
): Promise<string> {
  return new SignJWT({ role: 'reader', ...claims })
    .setProtectedHeader({ alg: 'ES256', kid: key.kid })
    .setIssuer(iss)
    .setAudience(aud)
    .setIssuedAt()
    .setExpirationTime(expiresIn)
    .sign(key.privateKey);
}

let folder: string;
let keyFile: string;
let key: Key;

/** Replaces the file in one step, as tools that rotate keys do. */
async function publish(...keys: readonly Key[]): Promise<void> {
  await writeFile(`${keyFile}.new`, JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }));
  await rename(`${keyFile}.new`, keyFile);
}

function policy(jwksFile: string): string {
  const issuer = { audiences: ['echo'], algorithms: ['ES256'], jwksFile, clockSkewSeconds: 0 };
  return stringify({
    version: 'tokens-1',
    trustDomains: [TRUST_DOMAIN],
    jwtIssuers: [
      { name: 'people', issuer: ISSUER, ...issuer },
      { name: 'bound', issuer: BOUND_ISSUER, ...issuer, binding: 'SPIFFE_CLAIM' },
    ],
    rules: [
      {
        id: 'readers-may-echo',
        effect: 'ALLOW',
        identities: [spiffe('caller')],
        permissions: ['echo.call'],
        token: { issuer: 'people', claims: [{ name: 'role', values: ['reader', 'admin'] }] },
      },
      {
        id: 'bound-users-may-echo',
        effect: 'ALLOW',
        identities: [spiffe('desk'), spiffe('thief')],
        permissions: ['echo.call'],
        token: { issuer: 'bound' },
      },
      { id: 'batch-may-echo', effect: 'ALLOW', identities: [spiffe('batch')], permissions: ['echo.call'] },
      {
        id: 'small-models-for-readers',
        effect: 'ALLOW',
        identities: [spiffe('picky')],
        permissions: ['echo.call'],
        models: ['small-*'],
        token: { issuer: 'people' },
      },
    ],
  });
}

function callWith(client: EchoClientType, authorization: string | null): Promise<Ended> {
  return run(client, 'unary', [{ text: 'x' }], authorization === null ? {} : { metadata: { authorization } });
}

function expectRefused(ended: Ended, code: status, reason: string): void {
  expect(status[ended.code]).toBe(status[code]);
  expect(ended.details.errorInfo).toMatchObject({ reason, domain: 'gatehouse.dev' });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gh-keys-'));
  keyFile = join(folder, 'jwks.json');
  key = await newKey('k1');
  await publish(key);
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('where a rule asks for a token', () => {
  let mesh: TestMesh;
  beforeAll(async () => {
    mesh = await startTestMesh({ policy: policy(keyFile) });
  });
  afterAll(async () => {
    await mesh.stop();
  });

  test('a good one lets the call through, also through the caller’s egress, again and again', async () => {
    const bearer = `Bearer ${await sign(key)}`;
    for (let i = 0; i < 5; i++) expect((await callWith(mesh.client(), bearer)).code).toBe(status.OK);
    expect((await callWith(await mesh.clientAs('caller'), bearer.replace('Bearer', 'bearer'))).code).toBe(
      status.OK,
    );
  });

  test.each([
    ['that has expired', { expiresIn: '-1s' }, status.UNAUTHENTICATED, 'TOKEN_EXPIRED'],
    ['for another audience', { aud: 'other' }, status.UNAUTHENTICATED, 'TOKEN_AUDIENCE'],
    ['of an unknown issuer', { iss: 'https://nobody.example' }, status.UNAUTHENTICATED, 'TOKEN_ISSUER'],
    ['with another claim', { role: 'guest' }, status.PERMISSION_DENIED, 'TOKEN_CLAIMS'],
  ] as const)('one %s is refused', async (_what, claims, code, reason) => {
    expect.hasAssertions();
    expectRefused(await callWith(mesh.client(), `Bearer ${await sign(key, claims)}`), code, reason);
  });

  test('one of another key of the same id, one cut off and one that is no token are refused', async () => {
    const forged = await sign(await newKey('k1'));
    expectRefused(
      await callWith(mesh.client(), `Bearer ${forged}`),
      status.UNAUTHENTICATED,
      'TOKEN_SIGNATURE',
    );
    const [head, claims] = (await sign(key)).split('.');
    for (const bad of [`Bearer ${head}.${claims}.`, 'Bearer x', 'Basic dXNlcjpwYXNz', 'Bearer'])
      expect((await callWith(mesh.client(), bad)).code).toBe(status.UNAUTHENTICATED);
  });

  test('a call without one is told so, with the policy’s version and the id of the decision', async () => {
    const ended = await callWith(mesh.client(), null);
    expectRefused(ended, status.UNAUTHENTICATED, 'TOKEN_REQUIRED');
    expect(ended.details.errorInfo?.metadata).toMatchObject({
      policy_version: expect.stringMatching(/^tokens-1@/),
    });
    expect(ended.details.errorInfo?.metadata?.['decision_id']).toMatch(/^[0-9a-f]+-/);
  });

  test('a refused token is in the decision list under the id that the caller is told', async () => {
    const ended = await callWith(mesh.client(), `Bearer ${await sign(key, { expiresIn: '-1s' })}`);
    const id = ended.details.errorInfo?.metadata?.['decision_id'];
    const [newest] = await listDecisions(mesh.inbound, { limit: 1 });
    expect(newest).toMatchObject({ decisionId: id, allowed: false, reason: 'TOKEN_EXPIRED', ruleId: '' });
  });

  test('a caller of a rule that asks for none needs none, and a bad one it brings is not looked at', async () => {
    const client = await mesh.clientAs('batch');
    expect((await callWith(client, null)).code).toBe(status.OK);
    expect((await callWith(client, 'Bearer nonsense')).code).toBe(status.OK);
  });

  test('the token goes on to the app, for it to know the user', async () => {
    const bearer = `Bearer ${await sign(key)}`;
    const { answers } = await callWith(mesh.client(), bearer);
    expect(answers[0]?.metadata).toContain(`authorization=${bearer}`);
  });

  test('a token that was good is refused once it has expired, although it was verified before', async () => {
    const bearer = `Bearer ${await sign(key, { expiresIn: '2s' })}`;
    const client = mesh.client();
    expect((await callWith(client, bearer)).code).toBe(status.OK);
    await vi.waitFor(
      async () => expectRefused(await callWith(client, bearer), status.UNAUTHENTICATED, 'TOKEN_EXPIRED'),
      { timeout: 5_000, interval: 100 },
    );
  });

  test('a token that is bound to a workload serves that workload alone, also when it is known already', async () => {
    const bearer = `Bearer ${await sign(key, { iss: BOUND_ISSUER, spiffe_id: spiffe('desk') })}`;
    expect((await callWith(await mesh.clientAs('desk'), bearer)).code).toBe(status.OK);
    const stolen = await callWith(await mesh.clientAs('thief'), bearer);
    expectRefused(stolen, status.UNAUTHENTICATED, 'TOKEN_BINDING');
    expect((await callWith(await mesh.clientAs('desk'), bearer)).code).toBe(status.OK);
  });

  test('a request that comes whole while its token is verified is read by policy all the same', async () => {
    const client = await mesh.clientAs('picky');
    // Every token is new, so that each has to be waited for.
    const call = async (requests: readonly object[], kind: 'unary' | 'clientStream') =>
      run(client, kind, requests, {
        metadata: { authorization: `Bearer ${await sign(key, { jti: crypto.randomUUID() })}` },
      });
    for (let i = 0; i < 5; i++) {
      expect((await call([{ model: 'small-1' }], 'unary')).code).toBe(status.OK);
      expectRefused(
        await call([{ model: 'large-1' }], 'unary'),
        status.PERMISSION_DENIED,
        'MODEL_NOT_ALLOWED',
      );
      expectRefused(await call([], 'clientStream'), status.INVALID_ARGUMENT, 'MALFORMED_REQUEST');
    }
  });
});

describe('keys', () => {
  test('that are replaced in their file are followed: the new one serves, and what the old one signed no longer', async () => {
    const mesh = await startTestMesh({ policy: policy(keyFile) });
    try {
      const old = `Bearer ${await sign(key)}`;
      const client = mesh.client();
      expect((await callWith(client, old)).code).toBe(status.OK);
      const next = await newKey('k2');
      await publish(next);
      const bearer = `Bearer ${await sign(next)}`;
      await vi.waitFor(async () => expect((await callWith(client, bearer)).code).toBe(status.OK), {
        timeout: 5_000,
        interval: 100,
      });
      expectRefused(await callWith(client, old), status.UNAUTHENTICATED, 'TOKEN_KEY');
    } finally {
      await publish(key);
      await mesh.stop();
    }
  });

  test('that cannot be read refuse the calls that need them with UNAVAILABLE, those alone, until they can', async () => {
    const late = join(folder, 'late.json');
    const mesh = await startTestMesh({ policy: policy(late) });
    try {
      const bearer = `Bearer ${await sign(key)}`;
      const refused = await callWith(mesh.client(), bearer);
      expectRefused(refused, status.UNAVAILABLE, 'TOKEN_KEYS_UNAVAILABLE');
      expect(refused.message).toContain('people');
      expect(refused.details.retryDelayMs).toBeGreaterThan(0);
      expect((await callWith(await mesh.clientAs('batch'), null)).code).toBe(status.OK);
      // The caller's breaker holds no refusal by policy against the endpoint.
      for (let i = 0; i < 8; i++) await callWith(mesh.client(), bearer);
      expect((await listCircuits(mesh.egress)).circuits).toMatchObject([{ failuresTotal: 0n }]);
      await writeFile(late, JSON.stringify({ keys: [key.jwk] }));
      await vi.waitFor(async () => expect((await callWith(mesh.client(), bearer)).code).toBe(status.OK), {
        timeout: 8_000,
        interval: 100,
      });
    } finally {
      await mesh.stop();
    }
  });
});
