/** A pod of the chart with all that is optional: decisions recorded and signed, limits in a Redis, pseudonyms, a signed policy and one in shadow. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateSigningKey } from '@gatehouse/sidecar';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { freePort } from '../../../sidecar/test/conformance/support/free-port.ts';
import {
  findRedisServer,
  type RedisServer,
  startRedisServer,
} from '../../../sidecar/test/support/redis-server.ts';
import { probe, TEST_MS_MAX, until } from './chart/local-pod.ts';
import { freePorts, LocalRelease, listening, ORCHESTRATION_ALONE } from './chart/local-release.ts';
import { MINIMAL, render, tools } from './chart/render-chart.ts';
import { runCli } from './run-cli.ts';

const PASSWORD = 'open sesame';
const CALLER = 'spiffe://example.org/ns/models/sa/mesh-gatehouse-mesh-test';
const redis = await findRedisServer();
const missing = 'missing' in tools ? tools.missing : 'missing' in redis ? redis.missing : '';
if (missing !== '' && process.env['CI']) throw new Error(missing);

let folder: string;
let release: LocalRelease;
let server: RedisServer | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gh-recorded-'));
  release = await LocalRelease.create();
});

afterEach(async () => {
  await release.remove();
  await server?.stop();
  server = undefined;
  await rm(folder, { recursive: true, force: true });
});

const file = (name: string): string => join(folder, name);

/** A Redis that asks for TLS, a certificate and a password. @returns its port */
async function startRedis(): Promise<number> {
  const identity = await release.identityOf('redis', 'quotas');
  await writeFile(file('redis.crt'), identity['tls.crt'] ?? '');
  await writeFile(file('redis.key'), identity['tls.key'] ?? '');
  await writeFile(file('redis-ca.crt'), release.authority.bundlePem);
  const port = await freePort();
  const options = {
    'tls-port': String(port),
    'tls-cert-file': file('redis.crt'),
    'tls-key-file': file('redis.key'),
    'tls-ca-cert-file': file('redis-ca.crt'),
    requirepass: PASSWORD,
  };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
  server = await startRedisServer((redis as { file: string }).file, args);
  return port;
}

/** A document, and its signature by the command that signs. */
async function signed(name: string, document: object): Promise<{ document: string; signature: string }> {
  const text = stringify(document);
  await writeFile(file(name), text);
  const run = await runCli(folder, 'policy', 'sign', file(name), '--key', file('signer.jwk'));
  expect(run).toMatchObject({ exitCode: 0, err: '' });
  return { document: text, signature: await readFile(file(`${name}.jws`), 'utf8') };
}

describe.skipIf(missing !== '')('a pod with everything on', { timeout: TEST_MS_MAX }, () => {
  test('starts from Secrets and ConfigMaps alone, records, counts in the store, and leaves a whole chain', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    await writeFile(file('signer.jwk'), JSON.stringify(privateKey.export({ format: 'jwk' })));
    const rule = { id: 'may-ask', effect: 'ALLOW', identities: [CALLER], permissions: ['health.check'] };
    const policy = {
      version: 'one',
      trustDomains: ['example.org'],
      rules: [rule],
      limits: [{ id: 'asks', per: ['identity'], requests: { perSecond: 100, burst: 100 }, store: 'SHARED' }],
      protections: [{ id: 'mails', detectors: ['EMAIL'], action: 'PSEUDONYMISE', key: 'mail' }],
      audit: { answerWaits: true },
    };
    const inForce = await signed('policy.yaml', policy);
    const shadow = await signed('next.yaml', {
      ...policy,
      version: 'two',
      rules: [{ ...rule, effect: 'DENY' }],
    });
    const ports = await freePorts();
    const signing = generateSigningKey();
    const all = {
      ...ORCHESTRATION_ALONE,
      ...listening(ports),
      policy: { ...inForce, shadow, signers: { keys: [publicKey.export({ format: 'jwk' })] } },
      audit: { enabled: true, signingKey: { secret: 'audit-signing' } },
      sharedLimits: {
        redis: {
          address: `localhost:${await startRedis()}`,
          password: { secret: 'redis-password' },
          tls: { secret: 'redis-tls', clientCertificate: true },
        },
        answerMsMax: 5000,
      },
      protection: { keys: [{ name: 'mail', secret: 'pseudonym-keys', key: 'mail.key' }] },
    };
    const pod = await release.orchestration(await render([MINIMAL], all), {
      'Secret audit-signing': { 'signing.key': signing.privatePem },
      'Secret redis-password': { password: PASSWORD },
      'Secret redis-tls': await release.identityOf('store-client', 'quotas'),
      'Secret pseudonym-keys': { 'mail.key': randomBytes(32).toString('base64') },
    });
    const config = join(pod.folder, 'etc/gatehouse/config/sidecar.yaml');
    expect(await runCli(folder, 'sidecar', 'check', config)).toMatchObject({ exitCode: 0 });

    await pod.start();
    await until(async () => (await probe(ports.telemetry, '/readyz')) === 200);
    const own = { ...all, ...listening({ ...(await freePorts()), mtls: ports.mtls }) };
    const caller = await release.meshTest(await render([MINIMAL], own));
    await caller.start();
    expect(await caller.ended('mesh-test')).toMatchObject({ code: 0 });
    await caller.end();

    const ask = (path: string) =>
      fetch(`http://127.0.0.1:${ports.telemetry}${path}`).then((each) => each.text());
    // Nothing is amiss: the store can be asked, and both documents are in force.
    expect(await ask('/readyz')).toBe('ready\n');
    const metrics = await ask('/metrics');
    expect(metrics).toContain('gatehouse_quota_store_up 1');
    expect(metrics).toMatch(/gatehouse_quota_admitted_total\{limit="asks"\} [1-9]/);
    expect(metrics).toMatch(/gatehouse_policy_info\{[^}]*"one@[^}]*\} 1/);
    expect(metrics).toMatch(/gatehouse_policy_shadow_info\{[^}]*"two@[^}]*\} 1/);
    expect(metrics).toMatch(/gatehouse_policy_shadow_differences_total\{[^}]*would="deny"[^}]*\} [1-9]/);

    await pod.end();
    await writeFile(file('signing.pub'), signing.publicPem);
    const records = join(pod.folder, 'var/lib/gatehouse/audit');
    const checkpoint = ['--checkpoint', join(records, 'checkpoint.jws'), '--key', file('signing.pub')];
    const verified = await runCli(folder, 'audit', 'verify', records, ...checkpoint);
    expect(verified).toMatchObject({
      exitCode: 0,
      out: expect.stringMatching(
        /^✓ the chain is whole: [2-9] entries in 1 segment, the last is (\d); signed through entry \1/,
      ),
    });
  });
});
