import { createServer } from 'node:net';
import type { IdentitySource } from '@gatehouse/identity';
import { listenOn } from '@gatehouse/sockets';
import { ConnectionPeer } from '../path/connection-peer.ts';
import { type Connections, count } from './connections.ts';
import type { InboundListener } from './inbound-listener.ts';

/** Listens for the app beside us: plaintext HTTP/2 on a Unix socket or loopback, called with our own identity. */
export async function listenEgress(
  address: string,
  parts: {
    readonly identity: IdentitySource;
    readonly connections: Connections;
    readonly limits: { readonly connectionsMax: number };
  },
): Promise<InboundListener> {
  const { identity, connections, limits } = parts;
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    connections.take(socket, ConnectionPeer.localApp(identity.current().spiffeId));
  });
  server.maxConnections = limits.connectionsMax;
  server.on('drop', () => count(connections.counts.refusedPeers, 'TOO_MANY_CONNECTIONS'));
  const bound = await listenOn(server, address);
  return { address: bound, close: () => void server.close() };
}
