import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Authority, createAuthority } from '@gatehouse/identity';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { startWorkloadApi, type WorkloadApiServer } from '../../libs/identity/test/workload-api-server.ts';
import { run } from './support/calls.ts';
import { clock, startTestMesh, type TestMesh, TRUST_DOMAIN } from './support/test-mesh.ts';

const PARTNER = 'partner.example';
const WAIT = { timeout: 15_000, interval: 20 };
const HOUR_MS = 3_600_000;

let folder: string;
let mesh: TestMesh;
let agents: { readonly own: WorkloadApiServer; readonly partner: WorkloadApiServer };
let authorities: { readonly own: Authority; readonly partner: Authority };

/** The callee is of one trust domain and the caller of another; each has its identity from an agent there. */
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gh-wl-'));
  const authority = (trustDomain: string) => createAuthority({ trustDomain, clock, validForMs: HOUR_MS });
  authorities = { own: await authority(TRUST_DOMAIN), partner: await authority(PARTNER) };
  agents = {
    own: await startWorkloadApi(join(folder, 'own.sock')),
    partner: await startWorkloadApi(join(folder, 'partner.sock')),
  };
  await give('own', 'callee', true);
  await give('partner', 'caller', true);
  mesh = await startTestMesh({
    identity: (name) =>
      name === 'callee'
        ? { workloadApi: `unix:${join(folder, 'own.sock')}`, trustDomain: TRUST_DOMAIN }
        : { workloadApi: `unix:${join(folder, 'partner.sock')}`, trustDomain: PARTNER },
    policy: stringify({
      version: 'federated',
      trustDomains: [TRUST_DOMAIN, PARTNER],
      rules: [
        {
          id: 'partner-may-echo',
          effect: 'ALLOW',
          identities: [`spiffe://${PARTNER}/sa/caller`],
          permissions: ['echo.call'],
        },
      ],
    }),
  });
});
afterEach(async () => {
  await mesh.stop();
  await agents.own.stop();
  await agents.partner.stop();
  await rm(folder, { recursive: true, force: true });
});

async function give(at: 'own' | 'partner', name: string, federated: boolean): Promise<void> {
  const [authority, other] =
    at === 'own' ? [authorities.own, authorities.partner] : [authorities.partner, authorities.own];
  const spiffeId = `spiffe://${authority.trustDomain}/sa/${name}`;
  const credentials = await authority.issue({ spiffeId, validForMs: HOUR_MS });
  agents[at].give(
    [{ spiffeId, credentials, bundlePem: authority.bundlePem }],
    federated ? { [`spiffe://${other.trustDomain}`]: other.bundlePem } : {},
  );
}

const call = async () => (await run(mesh.client(), 'unary', [{ text: 'x' }])).code;

test('sidecars of two trust domains that federate call each other, through rotation and without their agents', async () => {
  expect(await call()).toBe(status.OK);
  await give('own', 'callee', true);
  await give('partner', 'caller', true);
  expect(await call()).toBe(status.OK);
  expect(await mesh.metrics(mesh.inbound)).toContain('gatehouse_identity_failing 0');
  await agents.own.stop();
  await agents.partner.stop();
  await expect.poll(() => mesh.metrics(mesh.inbound), WAIT).toContain('gatehouse_identity_failing 1');
  expect(await call()).toBe(status.OK);
});

test('a trust domain that is federated no longer is let go, connections that stand included', async () => {
  expect(await call()).toBe(status.OK);
  await give('own', 'callee', false);
  await expect.poll(call, WAIT).not.toBe(status.OK);
  await expect
    .poll(() => mesh.metrics(mesh.inbound), WAIT)
    .toMatch(/gatehouse_peers_refused_total\{direction="inbound",reason="UNTRUSTED_ISSUER"\} [1-9]/);
});
