import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { createAuthority } from '@gatehouse/identity';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { run, startCall } from './support/calls.ts';
import { clock, spiffe, startTestMesh, type TestMesh, TRUST_DOMAIN } from './support/test-mesh.ts';

let mesh: TestMesh;
beforeEach(async () => {
  mesh = await startTestMesh();
});
afterEach(async () => {
  await mesh.stop();
});

const HOUR_MS = 3_600_000;

/** Shakes hands as a client with these credentials; resolves when the sidecar has hung up. */
async function knock(credentials: { certificatePem?: string; keyPem?: string }): Promise<void> {
  const [host, port] = (mesh.inbound.inboundAddress ?? '').split(':');
  const socket = connect({
    host,
    port: Number(port),
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
    ...(credentials.certificatePem === undefined
      ? {}
      : { cert: credentials.certificatePem, key: credentials.keyPem }),
  });
  await new Promise<void>((resolve) => {
    socket.on('error', () => resolve());
    socket.on('close', () => resolve());
    socket.resume();
  });
}

/** When the inbound sidecar's certificate expires, in seconds. */
async function expiryOf(of: TestMesh): Promise<number> {
  return Number(
    (await of.metrics(of.inbound)).match(/^gatehouse_identity_expires_timestamp_seconds (\S+)/m)?.[1],
  );
}

describe('a peer is refused with a reason of its own', () => {
  const line = (reason: string): string =>
    `gatehouse_peers_refused_total{direction="inbound",reason="${reason}"} 1`;

  test('without a certificate', async () => {
    await knock({});
    await expect.poll(() => mesh.metrics(mesh.inbound)).toContain(line('NO_CERTIFICATE'));
  });

  test('with a certificate of another CA of the same name', async () => {
    const other = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: HOUR_MS });
    await knock(await other.issue({ spiffeId: spiffe('caller'), validForMs: HOUR_MS }));
    await expect.poll(() => mesh.metrics(mesh.inbound)).toContain(line('UNTRUSTED_ISSUER'));
  });

  test('with a SPIFFE ID of another trust domain', async () => {
    await knock(
      await mesh.authority.issueFlawed({ uris: ['spiffe://other.example/sa/caller'], validForMs: HOUR_MS }),
    );
    await expect.poll(() => mesh.metrics(mesh.inbound)).toContain(line('WRONG_TRUST_DOMAIN'));
  });

  test('without a SPIFFE ID', async () => {
    await knock(
      await mesh.authority.issueFlawed({ uris: [], dnsNames: ['caller.example'], validForMs: HOUR_MS }),
    );
    await expect.poll(() => mesh.metrics(mesh.inbound)).toContain(line('NO_SPIFFE_ID'));
  });

  test('with two SPIFFE IDs', async () => {
    await knock(
      await mesh.authority.issueFlawed({ uris: [spiffe('caller'), spiffe('callee')], validForMs: HOUR_MS }),
    );
    await expect.poll(() => mesh.metrics(mesh.inbound)).toContain(line('MULTIPLE_SPIFFE_IDS'));
  });

  test('with an expired certificate', async () => {
    const past = await mesh.authority.issueFlawed({ uris: [spiffe('caller')], validForMs: -HOUR_MS });
    await knock(past);
    await expect.poll(() => mesh.metrics(mesh.inbound)).toContain(line('EXPIRED'));
  });
});

test('egress refuses an upstream that shows another SPIFFE ID than it should', async () => {
  const wrong = await startTestMesh();
  try {
    // The same address, with the certificate of a workload that is not the callee.
    const expiryBefore = await expiryOf(wrong);
    const issued = await wrong.authority.issue({ spiffeId: spiffe('impostor'), validForMs: 2 * HOUR_MS });
    await writeFile(join(wrong.folder, 'callee.pem'), issued.certificatePem);
    await writeFile(join(wrong.folder, 'callee.key'), issued.keyPem);
    await vi.waitFor(async () => expect(await expiryOf(wrong)).toBeGreaterThan(expiryBefore), 5_000);
    const ended = await run(wrong.client(), 'unary', [{}], { timeoutMs: 5_000 });
    expect(ended.code).toBe(status.UNAVAILABLE);
    expect(ended.message).toContain(spiffe('impostor'));
  } finally {
    await wrong.stop();
  }
});

test('certificates rotate under load without one failed call, and streams in progress go on', async () => {
  const client = mesh.client();
  const stream = startCall(client, 'serverStream', [{ count: 100, delayMs: 20, text: 'x' }]);
  await stream.firstAnswer;
  let calls = 0;
  const failures: string[] = [];
  let rotating = true;
  const load = Array.from({ length: 4 }, async () => {
    while (rotating) {
      const ended = await run(client, 'unary', [{ text: 'x' }]);
      calls += 1;
      if (ended.code !== status.OK) failures.push(`${ended.code} ${ended.message}`);
    }
  });
  const expiryBefore = await expiryOf(mesh);
  for (let rotation = 0; rotation < 3; rotation++) {
    await mesh.writeIdentity('callee');
    await mesh.writeIdentity('caller');
    const before = calls;
    await vi.waitFor(() => expect(calls).toBeGreaterThan(before + 50), 10_000);
  }
  await vi.waitFor(async () => expect(await expiryOf(mesh)).toBeGreaterThan(expiryBefore), 5_000);
  rotating = false;
  await Promise.all(load);
  expect(failures).toEqual([]);
  expect((await stream.ended).answers).toHaveLength(100);
});

test('a bundle without the caller’s issuer ends its connection, with a notice first and a status for its streams', async () => {
  const client = await mesh.clientAs('caller');
  const stream = startCall(client, 'serverStream', [{ count: 2000, delayMs: 20, text: 'x' }]);
  await stream.firstAnswer;
  const next = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: HOUR_MS });
  const issued = await next.issue({ spiffeId: spiffe('callee'), validForMs: HOUR_MS });
  await Promise.all([
    writeFile(join(mesh.folder, 'callee.pem'), issued.certificatePem),
    writeFile(join(mesh.folder, 'callee.key'), issued.keyPem),
    writeFile(join(mesh.folder, 'bundle.pem'), next.bundlePem),
  ]);
  const ended = await stream.ended;
  expect(ended.code).toBe(status.UNAUTHENTICATED);
  expect(ended.details.errorInfo?.reason).toBe('IDENTITY_UNTRUSTED_ISSUER');
  expect((await run(client, 'unary', [{}], { timeoutMs: 2_000 })).code).not.toBe(status.OK);
}, 30_000);
