/** gRPC's standard interoperability cases through client → egress sidecar → mTLS → inbound sidecar → server. */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findPythonWithGrpcio } from '../support/python-with-grpcio.ts';
import { startCompressingServer } from './support/compressing-server.ts';
import { type ConformanceMesh, startConformanceMesh, UPSTREAM } from './support/conformance-mesh.ts';
import { externalTool, finished } from './support/external-tool.ts';
import { GO_CASES, runGrpcGoClient, startGrpcGoServer } from './support/grpc-go.ts';
import { type AppServer, startGrpcJsServer } from './support/grpc-js-server.ts';
import { COMPRESSION_CASES, INTEROP_CASES } from './support/interop-cases.ts';

/** Another implementation that compresses: grpc-go's interoperability client has no such case. */
const PYTHON_CLIENT = fileURLToPath(new URL('./support/compression_client.py', import.meta.url));
const python = await findPythonWithGrpcio();
if ('missing' in python) {
  if (process.env['CI'] === 'true') throw new Error(python.missing);
  process.stderr.write(`not run: ${python.missing}\n`);
}

const tool = await externalTool('grpc-interop');
const goFolder = 'folder' in tool ? tool.folder : '';

/** Starts a server behind two sidecars for the tests of a block. */
function behindSidecars(start: () => Promise<AppServer>): () => string {
  let app: AppServer | undefined;
  let mesh: ConformanceMesh | undefined;
  beforeAll(async () => {
    app = await start();
    mesh = await startConformanceMesh(app.address);
  });
  afterAll(async () => {
    await mesh?.stop();
    app?.stop();
  });
  return () => mesh?.egress.egressAddress ?? '';
}

test('grpc-go is the other implementation', (context) => {
  if ('missing' in tool) context.skip(tool.missing);
  expect(Object.keys(INTEROP_CASES).sort()).toEqual([...GO_CASES].sort());
});

describe('with the server of grpc-js', () => {
  const address = behindSidecars(startGrpcJsServer);

  test.each(Object.entries(INTEROP_CASES))('the client of grpc-js passes %s', async (_name, run) => {
    await expect(run(address())).resolves.toBeUndefined();
  });

  test.skipIf(goFolder === '').each(GO_CASES)('the client of grpc-go passes %s', async (name) => {
    expect(await runGrpcGoClient(goFolder, address(), name)).toBe('');
  });
});

describe.skipIf(goFolder === '')('with the server of grpc-go', () => {
  const address = behindSidecars(() => startGrpcGoServer(goFolder));

  test.each(Object.entries(INTEROP_CASES))('the client of grpc-js passes %s', async (_name, run) => {
    await expect(run(address())).resolves.toBeUndefined();
  });

  test.each(GO_CASES)('the client of grpc-go passes %s', async (name) => {
    expect(await runGrpcGoClient(goFolder, address(), name)).toBe('');
  });
});

describe('with a server that sees the compressed flag of each message', () => {
  const address = behindSidecars(startCompressingServer);

  test.each(Object.entries(COMPRESSION_CASES))('the client of grpc-js passes %s', async (_name, run) => {
    await expect(run(address())).resolves.toBeUndefined();
  });

  test.skipIf('missing' in python).each(Object.keys(COMPRESSION_CASES))(
    'the client of grpcio passes %s',
    async (name) => {
      const { file } = python as { file: string };
      const ran = await finished(file, [PYTHON_CLIENT, address(), UPSTREAM, name], undefined, {
        timeoutMs: 60_000,
      });
      expect(ran).toMatchObject({ code: 0, stderr: '' });
    },
  );
});
