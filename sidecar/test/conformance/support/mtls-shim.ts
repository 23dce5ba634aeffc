import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';

export type MtlsShim = { readonly port: number; close(): void };

/**
 * Lets a tool that has no client certificate speak to an mTLS listener: plain TCP in, TLS with these options out. No byte
 * is changed, and each side's end becomes the other's.
 */
export async function startMtlsShim(target: string, options: ConnectionOptions): Promise<MtlsShim> {
  const colon = target.lastIndexOf(':');
  const address = { host: target.slice(0, colon), port: Number(target.slice(colon + 1)) };
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (plain) => {
    const secure: TLSSocket = connect({ ...options, ...address, ALPNProtocols: ['h2'] });
    secure.setNoDelay(true);
    for (const [one, other] of [
      [plain, secure],
      [secure, plain],
    ] as const) {
      open.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        open.delete(one);
        other.destroySoon();
      });
      one.pipe(other);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}
