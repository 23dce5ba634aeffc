import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, it } from 'vitest';
import { MeshStartError } from './mesh-start-error.ts';
import { choosePorts } from './ports.ts';

it('gives six different ports', async () => {
  const ports = Object.values(await choosePorts(undefined)).flatMap(({ inbound, telemetry }) => [
    inbound,
    telemetry,
  ]);
  expect(new Set(ports).size).toBe(6);
});

it('says in one sentence which port is in use and what to do', async () => {
  const holder = createServer();
  await once(holder.listen(0, '127.0.0.1'), 'listening');
  const { port } = holder.address() as AddressInfo;
  try {
    const failure = await choosePorts(port).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(MeshStartError);
    expect(String(failure)).toContain(`port ${port} is in use`);
    expect(String(failure)).toContain('--port-base');
  } finally {
    holder.close();
  }
});
