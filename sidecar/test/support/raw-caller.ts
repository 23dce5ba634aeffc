import { once } from 'node:events';
import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from 'node:http2';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { decodeStatusDetails, type StatusDetails } from '@gatehouse/contracts';
import { EchoClient, type EchoRequest, type EchoResponse } from '@gatehouse/testing';
import type { ServiceDefinition } from '@grpc/grpc-js';
import { spiffe, type TestMesh } from './test-mesh.ts';

const { Unary } = (EchoClient.EchoService as unknown as { service: ServiceDefinition }).service;

export const UNARY = '/testing.echo.v1.EchoService/Unary';

/** A length-prefixed message (gRPC over HTTP/2). */
function framed(body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

export function echoMessage(request: EchoRequest): Buffer {
  return framed(Unary?.requestSerialize(request) ?? Buffer.alloc(0));
}

/** What came back: head and trailers in one, since a refusal has only one of them. */
export type RawAnswer = {
  readonly fields: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly details: StatusDetails;
  /** The HTTP/2 error code that the stream was reset with; 0 for none. */
  readonly resetCode: number;
};

export function readEcho({ body }: RawAnswer): EchoResponse {
  return Unary?.responseDeserialize(body.subarray(5)) as EchoResponse;
}

/** A caller that says whatever it is told to, over mTLS as `caller`. */
export type RawCaller = {
  readonly session: ClientHttp2Session;
  /** Sends a head, as a unary call of the echo service with these fields changed, and then these pieces of a body. */
  call(fields?: Record<string, string>, pieces?: readonly Buffer[], keepOpen?: boolean): Promise<RawAnswer>;
  close(): void;
};

async function dial(mesh: TestMesh): Promise<TLSSocket> {
  const issued = await mesh.authority.issue({ spiffeId: spiffe('caller'), validForMs: 3_600_000 });
  const [host, port] = (mesh.inbound.inboundAddress ?? '').split(':');
  const socket = connectTls({
    host,
    port: Number(port),
    cert: issued.certificatePem,
    key: issued.keyPem,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
  });
  await once(socket, 'secureConnect');
  return socket;
}

export async function openRawCaller(mesh: TestMesh): Promise<RawCaller> {
  const socket = await dial(mesh);
  const session = connect('https://localhost', { createConnection: () => socket });
  session.on('error', () => {});
  return {
    session,
    call: (fields = {}, pieces = [echoMessage({ text: 'x' })], keepOpen = false) => {
      const head = {
        ':method': 'POST',
        ':path': UNARY,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...fields,
      };
      const stream = session.request(head, { endStream: false });
      const answered = Promise.withResolvers<RawAnswer>();
      let got: IncomingHttpHeaders = {};
      const chunks: Buffer[] = [];
      stream.on('response', (headers) => (got = { ...got, ...headers }));
      stream.on('trailers', (headers) => (got = { ...got, ...headers }));
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('error', () => {});
      stream.on('close', () => {
        const encoded = got['grpc-status-details-bin'];
        const details =
          typeof encoded === 'string' ? decodeStatusDetails(Buffer.from(encoded, 'base64')) : {};
        answered.resolve({ fields: got, body: Buffer.concat(chunks), details, resetCode: stream.rstCode });
      });
      for (const piece of pieces) stream.write(piece);
      if (!keepOpen) stream.end();
      else stream.on('end', () => stream.close(constants.NGHTTP2_NO_ERROR));
      return answered.promise;
    },
    close: () => session.destroy(),
  };
}

/** Sends bytes where HTTP/2 should begin. @returns all that came back until the sidecar hung up */
export async function sendRaw(mesh: TestMesh, bytes: Buffer): Promise<Buffer> {
  const socket = await dial(mesh);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => {});
  socket.write(bytes);
  await once(socket, 'close');
  return Buffer.concat(chunks);
}
