import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AuditRecord } from '@gatehouse/contracts/audit';
import { status } from '@grpc/grpc-js';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { readEntries } from '../src/audit/index.ts';
import { type Ask, type Generator, generatorAs } from './support/generate-calls.ts';
import { spiffe, startTestMesh, type TestMesh, TRUST_DOMAIN } from './support/test-mesh.ts';
import { startTokenApp, type TokenApp } from './support/token-app.ts';

/** A busy machine takes its time. */
const waitFor = <T>(check: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(check, { timeout: 10_000, interval: 20 });
const CARD = '4111 1111 1111 1111';
const EVERYBODY = [`spiffe://${TRUST_DOMAIN}/**`];
const SUBJECT = 'ada@example.com';

let folder: string;
let app: TokenApp;
let mesh: TestMesh;
let caller: Generator;
let bearer: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gh-contents-'));
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwksFile = join(folder, 'jwks.json');
  const jwk = { ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' };
  await writeFile(jwksFile, JSON.stringify({ keys: [jwk] }));
  const issuer = {
    name: 'people',
    issuer: 'https://people',
    audiences: ['mesh'],
    algorithms: ['ES256'],
    jwksFile,
  };
  bearer = await new SignJWT({ tenant: 'acme', groups: ['ml', 'risk'], secret: 'not on record' })
    .setProtectedHeader({ alg: 'ES256', kid: 'k' })
    .setIssuer('https://people')
    .setSubject(SUBJECT)
    .setAudience('mesh')
    .setExpirationTime('5m')
    .sign(privateKey);
  app = await startTokenApp();
  mesh = await startTestMesh({
    contract: {},
    app: app.address,
    audit: {},
    policy: stringify({
      version: 'contents-1',
      trustDomains: [TRUST_DOMAIN],
      jwtIssuers: [issuer],
      rules: [
        { id: 'all', effect: 'ALLOW', identities: EVERYBODY, permissions: ['inference.generate'] },
        {
          id: 'no-risk-at-night',
          effect: 'DENY',
          identities: EVERYBODY,
          permissions: ['inference.generate'],
          condition: '"risk" in token.claims.groups && request.max_output_tokens > 10',
          shadow: true,
        },
      ],
      limits: [
        { id: 'per-tenant', per: ['claim:tenant'], tokensPerMinute: 300, whenShort: 'SHRINK' },
        { id: 'all-calls', requests: { perSecond: 1000, burst: 1000 } },
      ],
      protections: [{ id: 'watch', directions: ['REQUEST'], detectors: ['CARD', 'EMAIL'], action: 'RECORD' }],
    }),
  });
  caller = await generatorAs(mesh, 'caller');
});
afterAll(async () => {
  await mesh.stop();
  app.stop();
  await rm(folder, { recursive: true, force: true });
});

async function newest(count: number): Promise<AuditRecord> {
  return waitFor(async () => {
    const records: AuditRecord[] = [];
    for await (const { content } of readEntries(join(mesh.folder, 'audit-0')))
      if (content.$case === 'record') records.push(content.value);
    expect(records).toHaveLength(count);
    return records[count - 1] as AuditRecord;
  });
}

test('a record says what was counted and found and what shadow would say, and holds no content', async () => {
  const note = `${CARD}, then ${CARD} and someone@example.org`;
  const ask: Ask & { note: string } = { input: 5, deltas: [3, 4], maxTokens: 20, bearer, note };
  expect((await caller.run(ask)).code).toBe(status.OK);
  const record = await newest(1);
  expect(record).toMatchObject({
    caller: {
      identity: spiffe('caller'),
      tokenIssuer: 'people',
      subjectDigest: createHash('sha256').update(`https://people\n${SUBJECT}`).digest('hex').slice(0, 32),
      claims: { tenant: '"acme"', groups: '["ml","risk"]' },
      claimsLeftOut: [],
    },
    model: 'small-1',
    allowed: true,
    ruleId: 'all',
    limits: ['per-tenant', 'all-calls'],
    detections: { CARD: 2, EMAIL: 1 },
    shadowDifference: { ruleId: 'no-risk-at-night', wouldAllow: false, reason: 'DENIED_BY_RULE' },
    requestFields: { max_output_tokens: '20' },
    outcome: { status: status.OK, inputTokens: 5n, outputTokens: 7n },
  });
  expect(record.caller?.claims).not.toHaveProperty('secret');
  for (const name of await readdir(join(mesh.folder, 'audit-0'))) {
    const bytes = await readFile(join(mesh.folder, 'audit-0', name));
    for (const planted of [CARD, 'someone@example.org', SUBJECT, 'not on record', bearer])
      expect(bytes.includes(planted)).toBe(false);
  }
});

test('a stream that a quota ends is on record as allowed, with its reason and the tokens it had', async () => {
  const ended = await caller.run({ input: 5, deltas: 400, bearer });
  expect(ended.code).toBe(status.RESOURCE_EXHAUSTED);
  expect(await newest(2)).toMatchObject({
    allowed: true,
    ruleId: 'all',
    reason: ended.details.errorInfo?.reason,
    outcome: { status: status.RESOURCE_EXHAUSTED, outputTokens: BigInt(ended.outputs.at(-1) ?? 0) },
  });
});
