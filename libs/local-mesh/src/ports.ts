import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { SERVICES, type ServiceName, type ServicePorts } from './mesh-layout.ts';
import { MeshStartError } from './mesh-start-error.ts';

/**
 * Two ports for each service: with a base the ones from there on, three inbound and then three for telemetry; without
 * one whichever are free.
 *
 * @throws MeshStartError when a port that was asked for is taken
 */
export async function choosePorts(
  base: number | undefined,
): Promise<Readonly<Record<ServiceName, ServicePorts>>> {
  const held: Server[] = [];
  try {
    const take = async (offset: number): Promise<number> => {
      const server = await hold(base === undefined ? 0 : base + offset);
      held.push(server);
      const address = server.address();
      return typeof address === 'object' && address !== null ? address.port : 0;
    };
    const portsOf = async (service: ServiceName): Promise<ServicePorts> => {
      const index = SERVICES.indexOf(service);
      return { inbound: await take(index), telemetry: await take(SERVICES.length + index) };
    };
    return {
      inference: await portsOf('inference'),
      embeddings: await portsOf('embeddings'),
      orchestration: await portsOf('orchestration'),
    };
  } finally {
    await Promise.all(held.map((server) => once(server.close(), 'close')));
  }
}

/** Listens, to see that a port is free or to be given one that is. */
async function hold(port: number): Promise<Server> {
  const server = createServer();
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening');
    return server;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new MeshStartError(
      `port ${port} ${code === 'EADDRINUSE' ? 'is in use' : `cannot be had (${code})`}; end the process that holds it, or choose other ports with --port-base PORT`,
    );
  }
}
