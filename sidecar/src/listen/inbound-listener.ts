import { createServer, type Server, type TLSSocket } from 'node:tls';
import { type IdentitySource, serverTlsOptions, staleness, verifyPeer } from '@gatehouse/identity';
import { listenOn } from '@gatehouse/sockets';
import type { Logger } from '@gatehouse/telemetry/logger';
import { type Connection, ErrorCode } from '../http2/index.ts';
import type { Clock } from '../path/call.ts';
import { ConnectionPeer } from '../path/connection-peer.ts';
import type { Pipeline } from '../path/pipeline.ts';
import { type Connections, count } from './connections.ts';
import { Quarantine } from './quarantine.ts';

/** How often live peers are asked whether their identity still holds. */
const SWEEP_MS = 1000;
/** From the GOAWAY that a stale peer gets to the end of its calls. */
const STALE_NOTICE_MS = 5000;

export type InboundListener = {
  readonly address: string;
  /** Takes no new connections. */
  close(): void;
};

export type InboundParts = {
  readonly identity: IdentitySource;
  readonly connections: Connections;
  readonly pipeline: Pipeline;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: { readonly handshakeMsMax: number; readonly connectionsMax: number };
};

/**
 * Listens for mTLS. The handshake asks for a client certificate and judges nothing; the peer is verified here, before
 * one byte of HTTP/2 is read, so that each refusal has its own reason in log and metric.
 */
export async function listenInbound(address: string, parts: InboundParts): Promise<InboundListener> {
  const { identity, limits, logger, connections } = parts;
  const server = createServer({
    ...serverTlsOptions(identity.current()),
    handshakeTimeout: limits.handshakeMsMax,
    noDelay: true,
  });
  server.maxConnections = limits.connectionsMax;
  const quarantine = new Quarantine(parts.clock);
  server.on('secureConnection', (socket) => admitPeer(socket, parts, quarantine));
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    // Node leaves the socket of a handshake that took too long as it is.
    socket.destroy();
    count(connections.counts.refusedPeers, 'HANDSHAKE_FAILED');
    logger.info({ reason: 'HANDSHAKE_FAILED', code: error.code, peer: socket.remoteAddress }, 'peer refused');
  });
  server.on('drop', () => count(connections.counts.refusedPeers, 'TOO_MANY_CONNECTIONS'));
  const unsubscribe = identity.subscribe((next) => server.setSecureContext(serverTlsOptions(next)));
  const sweep = setInterval(() => sweepStale(parts), SWEEP_MS);
  sweep.unref();
  const bound = await listenOn(server, address);
  return { address: bound, close: () => closeListener(server, sweep, unsubscribe) };
}

function closeListener(server: Server, sweep: NodeJS.Timeout, unsubscribe: () => void): void {
  clearInterval(sweep);
  unsubscribe();
  server.close();
}

function admitPeer(
  socket: TLSSocket,
  { identity, connections, clock, logger }: InboundParts,
  quarantine: Quarantine,
): void {
  socket.on('error', () => socket.destroy());
  const own = identity.current();
  const verified = verifyPeer(socket, {
    trust: own,
    nowMs: clock(),
    peerIs: 'client',
  });
  if ('refusal' in verified) {
    const { reason, detail } = verified.refusal;
    count(connections.counts.refusedPeers, reason);
    logger.info({ reason, detail, peer: socket.remoteAddress }, 'peer refused');
    socket.destroy();
  } else if (socket.alpnProtocol !== 'h2') {
    count(connections.counts.refusedPeers, 'NO_HTTP2');
    logger.info({ reason: 'NO_HTTP2', peer: socket.remoteAddress }, 'peer refused');
    socket.destroy();
  } else {
    const { spiffeId } = verified.peer;
    const address = socket.remoteAddress ?? '';
    if (quarantine.holds(spiffeId, address)) {
      count(connections.counts.refusedPeers, 'QUARANTINED');
      socket.destroy();
      return;
    }
    connections.take(socket, ConnectionPeer.workload(verified.peer, own.spiffeId), () => {
      quarantine.add(spiffeId, address);
      logger.info({ identity: spiffeId, peer: address }, 'peer kept out for a while after a flood');
    });
  }
}

/** A peer whose certificate has expired, or whose issuer has left the bundle, is drained first and cut after a notice. */
function sweepStale(parts: InboundParts): void {
  const { connections, identity, clock } = parts;
  const trust = identity.current();
  for (const connection of connections.open) {
    const peer = connection.context as ConnectionPeer;
    if (peer.staleness !== null) continue;
    peer.staleness = staleness(peer, trust, clock());
    if (peer.staleness !== null) noticeStale(connection, peer, parts);
  }
}

function noticeStale(
  connection: Connection,
  peer: ConnectionPeer,
  { connections, pipeline, logger }: InboundParts,
): void {
  const reason = peer.staleness ?? 'EXPIRED';
  logger.info({ reason, identity: peer.spiffeId }, 'peer is no longer trusted, draining its connection');
  count(connections.counts.refusedPeers, `STALE_${reason}`);
  connection.shutdown();
  const cut = setTimeout(() => {
    for (const passage of connections.callsOn(connection))
      pipeline.refuse(passage, { kind: 'identity-stale', reason });
    connection.destroy(ErrorCode.NO_ERROR, 'identity no longer trusted');
  }, STALE_NOTICE_MS);
  cut.unref();
}
