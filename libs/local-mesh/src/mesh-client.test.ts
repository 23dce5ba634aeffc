import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MethodDefinition, Server, ServerCredentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../test/until.ts';
import { connectToMesh } from './mesh-client.ts';
import { type MeshIdentities, startMeshIdentities } from './mesh-identities.ts';
import { layOut, type MeshLayout, type ServiceName } from './mesh-layout.ts';
import { choosePorts } from './ports.ts';

const bytes = (buffer: Buffer): Buffer => buffer;
const echo: MethodDefinition<Buffer, Buffer> = {
  path: '/test.Echo/Echo',
  requestStream: false,
  responseStream: false,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
};

let layout: MeshLayout;
let identities: MeshIdentities;
const servers: Server[] = [];

beforeEach(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'mesh-'));
  layout = layOut(folder, folder, await choosePorts(undefined));
});

afterEach(async () => {
  await identities.close();
  for (const server of servers.splice(0)) server.forceShutdown();
  await rm(layout.dataDir, { recursive: true, force: true });
});

async function issue(validForMs?: number): Promise<void> {
  identities = await startMeshIdentities({
    layout,
    clock: Date.now,
    ...(validForMs === undefined ? {} : { validForMs }),
    onError: (error) => {
      throw error;
    },
  });
}

/** Stands where `place` is expected and shows the certificate of `identity`. */
async function serveEcho(place: ServiceName, identity: ServiceName): Promise<void> {
  const { certificateFile, keyFile } = layout.identities[identity];
  const pair = { cert_chain: await readFile(certificateFile), private_key: await readFile(keyFile) };
  const server = new Server();
  server.addService(
    { Echo: echo },
    {
      Echo: (call: { request: Buffer }, reply: (error: null, answer: Buffer) => void) =>
        reply(null, call.request),
    },
  );
  servers.push(server);
  const secure = ServerCredentials.createSsl(await readFile(layout.bundleFile), [pair], true);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(layout.services[place].inbound, secure, (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}

const mesh = () => ({ ...layout, pid: process.pid, otlpEndpoint: '' });

describe('connectToMesh', () => {
  it('calls a server that shows the identity of the service', async () => {
    await issue();
    await serveEcho('inference', 'inference');
    const client = await connectToMesh(mesh(), 'inference', 'developer');
    try {
      expect(await client.unary(echo, Buffer.from('hello'))).toEqual(Buffer.from('hello'));
    } finally {
      client.close();
    }
  });

  it('sends nothing to a server of the same CA that shows another identity', async () => {
    await issue();
    await serveEcho('inference', 'embeddings');
    const client = await connectToMesh(mesh(), 'inference', 'developer');
    try {
      await expect(client.unary(echo, Buffer.from('hello'))).rejects.toThrow(
        'sa/embeddings, expected spiffe://',
      );
    } finally {
      client.close();
    }
  });
});

describe('startMeshIdentities', () => {
  it('replaces certificates before they end, with keys that nobody else may read', async () => {
    await issue(400);
    const { certificateFile, keyFile } = layout.identities.inference;
    const first = new X509Certificate(await readFile(certificateFile)).serialNumber;
    await until(async () => new X509Certificate(await readFile(certificateFile)).serialNumber !== first);
    expect((await stat(keyFile)).mode & 0o777).toBe(0o600);
  });
});
