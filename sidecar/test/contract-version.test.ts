import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CONTRACT_HEADER, decodeStatusDetails } from '@gatehouse/contracts';
import { HealthCheckResponse_ServingStatus, HealthService } from '@gatehouse/contracts/health';
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { getConfig } from './support/admin.ts';
import { CALL_KINDS, run } from './support/calls.ts';
import { startTestMesh, type TestMesh } from './support/test-mesh.ts';

describe('a sidecar whose contract is 1.2.0', () => {
  let mesh: TestMesh;
  beforeAll(async () => {
    mesh = await startTestMesh({ overlay: 'contractVersion: 1.2.0' });
  });
  afterAll(async () => {
    await mesh.stop();
  });
  const stub = (version: string) => ({ metadata: { [CONTRACT_HEADER]: version } });

  test.each(CALL_KINDS)('refuses a stub of 2.0.0 and names both versions: %s', async (kind) => {
    for (const client of [mesh.client(), await mesh.clientAs('caller')]) {
      const { code, message, details } = await run(client, kind, [{ text: 'x' }], stub('2.0.0'));
      expect([code, message]).toEqual([
        status.FAILED_PRECONDITION,
        "The caller's stub is of contract 2.0.0, and contract 1.2.0 is served here, another major version; call with a stub of that one.",
      ]);
      expect(details.errorInfo).toMatchObject({
        reason: 'CONTRACT_MISMATCH',
        metadata: { contract_stated: '2.0.0', contract_served: '1.2.0' },
      });
    }
  });

  test('takes calls of older and newer stubs of its major version, and those that say nothing', async () => {
    const client = mesh.client();
    for (const version of ['1.0.0', '1.2.0', '1.9.0'])
      expect(await run(client, 'unary', [{}], stub(version))).toMatchObject({ code: status.OK });
    expect(await run(client, 'unary', [{}])).toMatchObject({ code: status.OK });
  });

  test('tells a newer stub that its method is not there yet, and others that it is unknown', async () => {
    const client = mesh.client();
    const call = (version: string): Promise<readonly [status, string | undefined]> => {
      const metadata = new Metadata();
      metadata.set(CONTRACT_HEADER, version);
      return new Promise((resolve) => {
        client.unclassified({}, metadata, (error: ServiceError) => {
          const [encoded] = error.metadata.get('grpc-status-details-bin');
          resolve([error.code, decodeStatusDetails(encoded as Buffer).errorInfo?.reason]);
        });
      });
    };
    expect(await call('1.3.0')).toEqual([status.FAILED_PRECONDITION, 'CONTRACT_MISMATCH']);
    expect(await call('1.2.0')).toEqual([status.UNIMPLEMENTED, 'UNKNOWN_METHOD']);
  });

  test('says what it enforces in its metrics and to operators', async () => {
    expect(await getConfig(mesh.inbound)).toMatchObject({ contractVersion: '1.2.0', appContractVersion: '' });
    expect(await mesh.metrics(mesh.inbound)).toContain(
      'gatehouse_contract_info{version="1.2.0",app_version=""} 1',
    );
  });
});

describe.each([
  ['1.1.0', 200, 'ready\n'],
  [
    '1.4.0',
    200,
    /^ready\nthe app serves contract 1\.4\.0, and the descriptor set .* 1\.2\.0: its newer methods/,
  ],
  [
    '2.0.0',
    503,
    /^the app serves contract 2\.0\.0, and the descriptor set .* 1\.2\.0, another major version/,
  ],
  ['nonsense', 200, 'ready\n'],
])('a sidecar whose contract is 1.2.0 before an app of %s', (version, expectedStatus, expectedBody) => {
  test(`answers ${expectedStatus} when it is asked whether it is ready`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'gh-'));
    const app = `unix:${join(folder, 'app.sock')}`;
    const server = await serveHealth(app, version);
    const mesh = await startTestMesh({ app, overlay: 'contractVersion: 1.2.0' });
    try {
      const url = `http://${mesh.inbound.telemetryAddress}/readyz`;
      const answer = await fetch(url);
      const body = await answer.text();
      expect([answer.status, body]).toEqual([expectedStatus, expect.stringMatching(expectedBody)]);
      expect((await getConfig(mesh.inbound)).appContractVersion).toBe(version);
    } finally {
      await mesh.stop();
      server.forceShutdown();
      await rm(folder, { recursive: true, force: true });
    }
  });
});

/** An app that serves health alone, and says its contract with it. */
async function serveHealth(address: string, version: string): Promise<Server> {
  const server = new Server();
  server.addService(HealthService, {
    check: (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
      const metadata = new Metadata();
      metadata.set(CONTRACT_HEADER, version);
      call.sendMetadata(metadata);
      callback(null, { status: HealthCheckResponse_ServingStatus.SERVING });
    },
    watch: () => {},
  });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  return server;
}
