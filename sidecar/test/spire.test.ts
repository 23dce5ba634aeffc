import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type IdentitySource, watchWorkloadApi } from '@gatehouse/identity';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { externalTool } from './conformance/support/external-tool.ts';
import { run } from './support/calls.ts';
import { type Spire, startSpire } from './support/spire.ts';
import { clock, spiffe, startTestMesh, type TestMesh, TRUST_DOMAIN } from './support/test-mesh.ts';

const PARTNER = 'partner.example';
const WAIT = { timeout: 40_000, interval: 100 };
const TEST_MS_MAX = 120_000;
/** SPIRE renews at half of it. */
const TTL_SECONDS = 10;

const tool = await externalTool('spire');

describe.skipIf('missing' in tool)('with a real SPIRE server and agent', () => {
  let folder: string;
  let own: Spire;
  let partner: Spire;

  beforeAll(async () => {
    if ('missing' in tool) return;
    folder = await mkdtemp(join(tmpdir(), 'gh-spire-'));
    own = await startSpire(tool.folder, folder, TRUST_DOMAIN);
    partner = await startSpire(tool.folder, folder, PARTNER);
    await own.trust(partner);
    await partner.trust(own);
    await own.register('sa/callee', { ttlSeconds: TTL_SECONDS, federatesWith: partner });
    await own.register('sa/caller', { ttlSeconds: TTL_SECONDS });
    await partner.register('sa/caller', { ttlSeconds: 3600, federatesWith: own });
  }, TEST_MS_MAX);
  afterAll(async () => {
    await own?.stop();
    await partner?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const identityOf = (spire: Spire, name: string) => ({
    workloadApi: spire.address,
    spiffeId: `spiffe://${spire.trustDomain}/sa/${name}`,
    trustDomain: spire.trustDomain,
  });

  async function watching(spire: Spire, name: string): Promise<IdentitySource> {
    const { workloadApi: address, ...which } = identityOf(spire, name);
    const watched = await watchWorkloadApi({ address, ...which, clock, random: Math.random });
    if ('problem' in watched) throw new Error(watched.problem.detail);
    return watched.source;
  }

  /** Calls without pause until it is stopped. */
  function load(mesh: TestMesh) {
    const client = mesh.client();
    const failures: string[] = [];
    let running = true;
    const loop = (async () => {
      while (running) {
        const { code, message } = await run(client, 'unary', [{ text: 'x' }]);
        if (code !== status.OK) failures.push(`${status[code]} ${message}`);
      }
    })();
    return {
      failures,
      stop: async () => {
        running = false;
        await loop;
      },
    };
  }

  it(
    'calls go on through rotation, a new CA, and an agent that is killed and comes back',
    async () => {
      const mesh = await startTestMesh({ identity: (name) => identityOf(own, name) });
      const watched = await watching(own, 'callee');
      const calls = load(mesh);
      try {
        const first = watched.current();
        expect(first.spiffeId).toBe(spiffe('callee'));
        expect(first.bundle.anchors).toHaveLength(1);
        await expect.poll(() => watched.current().notAfterMs, WAIT).toBeGreaterThan(first.notAfterMs);

        await own.rotateAuthority();
        await expect.poll(() => watched.current().bundle.anchors.length, WAIT).toBe(2);

        await own.killAgent();
        await expect.poll(() => watched.problem()?.code, WAIT).toBe('WORKLOAD_API_FAILED');
        const before = watched.current();
        expect((await run(mesh.client(), 'unary', [{}])).code).toBe(status.OK);
        await own.startAgent();
        await expect.poll(() => watched.problem(), WAIT).toBeNull();
        await expect.poll(() => watched.current().notAfterMs, WAIT).toBeGreaterThan(before.notAfterMs);
        await calls.stop();
        expect(calls.failures).toEqual([]);
      } finally {
        await calls.stop();
        watched.close();
        await mesh.stop();
      }
    },
    TEST_MS_MAX,
  );

  it(
    'a caller of a federated trust domain is known by its identity there, and by it alone',
    async () => {
      const mesh = await startTestMesh({
        identity: (name) => identityOf(name === 'caller' ? partner : own, name),
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
      const watched = await watching(own, 'callee');
      try {
        expect([...watched.current().federated.keys()]).toEqual([PARTNER]);
        // The CA of ours that signs now is one that the partner has not been told of yet.
        await own.rotateAuthority();
        const known = watched.current().certificatePem;
        await expect.poll(() => watched.current().certificatePem, WAIT).not.toBe(known);
        await partner.trust(own);
        const call = async () => (await run(mesh.client(), 'unary', [{ text: 'x' }])).code;
        await expect.poll(call, WAIT).toBe(status.OK);
      } finally {
        watched.close();
        await mesh.stop();
      }
    },
    TEST_MS_MAX,
  );
});
