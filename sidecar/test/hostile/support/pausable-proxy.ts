import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A wire that can be cut without either end being told. */
export type PausableProxy = {
  readonly address: string;
  /** Bytes are lost from now on, both ways; connections of both sides stay as they are, and new ones get no answer. */
  cut(): void;
  /** New connections pass again; those that were cut stay so. */
  mend(): void;
  close(): void;
};

/** @param to `host:port` */
export async function startPausableProxy(to: string): Promise<PausableProxy> {
  const [host = '', port] = to.split(':');
  const sockets = new Set<Socket>();
  let isCut = false;
  const cutNow = new Set<() => void>();
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  };
  const server = createServer((near) => {
    keep(near);
    if (isCut) return;
    const far = connect(Number(port), host);
    keep(far);
    let lost = false;
    cutNow.add(() => {
      lost = true;
    });
    for (const [from, into] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', (chunk) => {
        if (!lost) into.write(chunk);
      });
      from.on('close', () => {
        if (!lost) into.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => {
      isCut = true;
      for (const cut of cutNow) cut();
    },
    mend: () => {
      isCut = false;
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
