import { readFile } from 'node:fs/promises';
import type { PeerCertificate } from 'node:tls';
import {
  type CallOptions,
  Client,
  credentials,
  type Deadline,
  Metadata,
  type MethodDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { type CallerName, type ServiceName, spiffeIdOf } from './mesh-layout.ts';
import type { MeshState } from './mesh-state.ts';

export type CallExtras = {
  readonly deadline?: Deadline;
  readonly signal?: AbortSignal;
  /** Sent as `traceparent`. */
  readonly traceparent?: string;
  /** Further request metadata. */
  readonly metadata?: Readonly<Record<string, string>>;
};

/** Calls one service of a mesh through its sidecar, over mTLS. A call that fails throws grpc-js's ServiceError. */
export type MeshClient = {
  unary<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    extras?: CallExtras,
  ): Promise<Response>;
  serverStream<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    extras?: CallExtras,
  ): AsyncIterable<Response>;
  /** Sends all requests, reading answers meanwhile; serves client streams (one answer) as well. */
  stream<Request, Response>(
    method: MethodDefinition<Request, Response>,
    requests: readonly Request[],
    extras?: CallExtras,
  ): AsyncIterable<Response>;
  close(): void;
};

const RESPONSE_BYTES_MAX = 16 * 1024 * 1024;

/** Opens a connection with a caller's certificate. The server must show the service's own SPIFFE ID. */
export async function connectToMesh(
  mesh: MeshState,
  service: ServiceName,
  caller: CallerName,
): Promise<MeshClient> {
  const { certificateFile, keyFile } = mesh.identities[caller];
  const [bundle, key, certificate] = await Promise.all([
    readFile(mesh.bundleFile),
    readFile(keyFile),
    readFile(certificateFile),
  ]);
  const secure = credentials.createSsl(bundle, key, certificate, {
    checkServerIdentity: (_host, peer) => spiffeIdProblem(peer, spiffeIdOf(service)),
  });
  return meshClient(
    new Client(mesh.services[service].inbound, secure, {
      // Node refuses an IP address as the TLS server name; the name is in the certificates and nobody goes by it.
      'grpc.ssl_target_name_override': 'localhost',
      'grpc.max_receive_message_length': RESPONSE_BYTES_MAX,
      'grpc.enable_retries': 0,
    }),
  );
}

/** Opens a plaintext connection to a local socket: a sidecar's admin port. */
export function connectToSocket(address: string): MeshClient {
  return meshClient(new Client(address, credentials.createInsecure(), { 'grpc.enable_retries': 0 }));
}

/** The chain has been verified by then; what remains is whose certificate it is (SPIFFE X509-SVID §4.1). */
function spiffeIdProblem(peer: PeerCertificate, expected: string): Error | undefined {
  const uris = (peer.subjectaltname ?? '').split(', ').filter((name) => name.startsWith('URI:'));
  if (uris.length === 1 && uris[0] === `URI:${expected}`) return undefined;
  return new Error(`the server is ${uris.join(', ') || 'without a SPIFFE ID'}, expected ${expected}`);
}

function meshClient(client: Client): MeshClient {
  return {
    unary: (method, request, extras = {}) =>
      new Promise((resolve, reject) => {
        const call = client.makeUnaryRequest(
          method.path,
          method.requestSerialize,
          method.responseDeserialize,
          request,
          metadataOf(extras),
          optionsOf(extras),
          (error: ServiceError | null, response) => {
            extras.signal?.removeEventListener('abort', cancel);
            if (error !== null) reject(error);
            else if (response !== undefined) resolve(response);
          },
        );
        const cancel = (): void => call.cancel();
        extras.signal?.addEventListener('abort', cancel, { once: true });
      }),
    serverStream: (method, request, extras = {}) =>
      read(
        client.makeServerStreamRequest(
          method.path,
          method.requestSerialize,
          method.responseDeserialize,
          request,
          metadataOf(extras),
          optionsOf(extras),
        ),
        extras.signal,
      ),
    stream: (method, requests, extras = {}) => {
      const call = client.makeBidiStreamRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        metadataOf(extras),
        optionsOf(extras),
      );
      for (const request of requests) call.write(request);
      call.end();
      return read(call, extras.signal);
    },
    close: () => client.close(),
  };
}

type ReadableCall = NodeJS.ReadableStream & { cancel(): void };

async function* read<Response>(call: ReadableCall, signal?: AbortSignal): AsyncIterable<Response> {
  const cancel = (): void => call.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    for await (const message of call) yield message as Response;
  } finally {
    signal?.removeEventListener('abort', cancel);
    call.on('error', () => {}); // The cancellation that leaving early causes concerns nobody.
    call.cancel();
  }
}

function metadataOf({ traceparent, metadata = {} }: CallExtras): Metadata {
  const sent = new Metadata();
  for (const [key, value] of Object.entries(metadata)) sent.set(key, value);
  if (traceparent !== undefined) sent.set('traceparent', traceparent);
  return sent;
}

function optionsOf({ deadline }: CallExtras): CallOptions {
  return deadline === undefined ? {} : { deadline };
}

/** Whether a thrown value is a call's status. */
export function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error && 'metadata' in error;
}
