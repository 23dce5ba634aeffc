import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import type { Credentials } from '@gatehouse/identity';
import { FrameType, PREFACE } from '../../../src/http2/frame-types.ts';
import { SETTINGS, SETTINGS_ACK } from '../../../src/http2/raw-peer.ts';
import { FrameSplitter } from './frame-splitter.ts';

/** What a server does wrong. */
export type Misbehaviour = {
  /** Sent as soon as a connection is there. Default: SETTINGS and the acknowledgement of the client's. */
  readonly greeting?: Buffer;
  /** Sent for each request. Default: nothing. */
  readonly onRequest?: (streamId: number) => Buffer;
  /** Closes the connection after the greeting. */
  readonly closes?: boolean;
};

export type RawUpstream = { readonly address: string; close(): void };

/** A server with a valid identity that speaks in single frames over TLS. */
export async function startRawUpstream(
  { certificatePem, keyPem }: Credentials,
  bundlePem: string,
  { greeting = Buffer.concat([SETTINGS, SETTINGS_ACK]), onRequest, closes = false }: Misbehaviour,
): Promise<RawUpstream> {
  const sockets = new Set<TLSSocket>();
  const server = createServer({
    cert: certificatePem,
    key: keyPem,
    ca: bundlePem,
    requestCert: true,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2'],
  });
  server.on('secureConnection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.write(greeting);
    if (closes) socket.end();
    const splitter = new FrameSplitter();
    let prefaceLeft = PREFACE.length;
    socket.on('data', (chunk: Buffer) => {
      const skipped = Math.min(prefaceLeft, chunk.length);
      prefaceLeft -= skipped;
      for (const { type, streamId } of splitter.push(chunk.subarray(skipped)))
        if (type === FrameType.HEADERS && onRequest !== undefined) socket.write(onRequest(streamId));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
