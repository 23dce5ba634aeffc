import { once } from 'node:events';
import {
  type CallOptions,
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import type { CallContext } from './edge.ts';
import { fromServiceError, RpcError } from './errors.ts';

/** What one response message may have at most, in bytes. */
const responseBytesMax = 16 * 1024 * 1024;
/** Metadata of the incoming call that its children carry on: the end user's token. */
const forwardedMetadata = ['authorization'];

export interface EgressOptions {
  /** What to dial: `unix:/path` or `host:port`, in plaintext: the own sidecar's egress listener. */
  readonly address: string;
  /** `:authority`, which names the upstream. grpc-js would send `localhost` over Unix sockets. */
  readonly authority: string;
}

export interface OutgoingCall {
  /** The call being answered: its signal, its deadline and its authorization are carried on. */
  readonly parent?: CallContext;
  /** Cancels the call too. */
  readonly signal?: AbortSignal;
  /** When to stop waiting, in milliseconds since the epoch; the parent's deadline holds where it is earlier. */
  readonly deadline?: number;
  readonly metadata?: Metadata;
}

/** Calls through the own sidecar. Every failure is thrown as an RpcError with the callee's code and details. */
export interface EgressChannel {
  unary<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    call?: OutgoingCall,
  ): Promise<Response>;
  /** Leaving the iteration cancels the call. */
  serverStream<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    call?: OutgoingCall,
  ): AsyncGenerator<Response, void, undefined>;
  /** Sends `requests` with back-pressure while the responses are read; leaving the iteration cancels the call. */
  bidiStream<Request, Response>(
    method: MethodDefinition<Request, Response>,
    requests: AsyncIterable<Request>,
    call?: OutgoingCall,
  ): AsyncGenerator<Response, void, undefined>;
  close(): void;
}

/** Opens a channel (lazily connected) to one upstream through the sidecar's egress. Close it when done. */
export function egressChannel({ address, authority }: EgressOptions): EgressChannel {
  const client = new Client(address, credentials.createInsecure(), {
    'grpc.default_authority': authority,
    'grpc.max_receive_message_length': responseBytesMax,
    // Retries are the sidecar's: a second layer of them would multiply the load of an outage.
    'grpc.enable_retries': 0,
  });
  return {
    unary: (method, request, call = {}) => unary(client, method, request, call),
    async *serverStream(method, request, call = {}) {
      const { path, requestSerialize, responseDeserialize } = method;
      const { metadata, options, signal } = prepare(call);
      signal.throwIfAborted();
      yield* responses(
        client.makeServerStreamRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          metadata,
          options,
        ),
        signal,
      );
    },
    async *bidiStream(method, requests, call = {}) {
      const { path, requestSerialize, responseDeserialize } = method;
      const { metadata, options, signal } = prepare(call);
      signal.throwIfAborted();
      const stream = client.makeBidiStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        metadata,
        options,
      );
      const sending = new AbortController();
      // A source of requests that fails cancels the call, and its own error is what the reader gets.
      const stopped = AbortSignal.any([signal, sending.signal]);
      send(stream, requests, stopped).catch((error: unknown) => {
        if (stopped.aborted) return;
        sending.abort(error);
        stream.cancel();
      });
      try {
        yield* responses(stream, signal);
      } catch (error) {
        throw sending.signal.aborted ? sending.signal.reason : error;
      } finally {
        sending.abort();
      }
    },
    close: () => client.close(),
  };
}

interface PreparedCall {
  readonly metadata: Metadata;
  readonly options: CallOptions;
  /** Aborted when the parent's call ends or the caller loses interest. */
  readonly signal: AbortSignal;
}

function prepare({ parent, signal, deadline, metadata: own }: OutgoingCall): PreparedCall {
  const metadata = own?.clone() ?? new Metadata();
  for (const key of forwardedMetadata) {
    for (const value of parent?.metadata.get(key) ?? []) metadata.add(key, value);
  }
  const earliest = Math.min(parent?.deadline ?? Infinity, deadline ?? Infinity);
  const signals = [parent?.signal, signal].filter((candidate) => candidate !== undefined);
  return { metadata, options: { deadline: earliest }, signal: AbortSignal.any(signals) };
}

function unary<Request, Response>(
  client: Client,
  method: MethodDefinition<Request, Response>,
  request: Request,
  call: OutgoingCall,
): Promise<Response> {
  const { path, requestSerialize, responseDeserialize } = method;
  const { metadata, options, signal } = prepare(call);
  signal.throwIfAborted();
  return new Promise<Response>((resolve, reject) => {
    const onAbort = () => pending.cancel();
    const done = (error: ServiceError | null, response?: Response) => {
      signal.removeEventListener('abort', onAbort);
      if (error) reject(outcome(error, signal));
      else resolve(response as Response);
    };
    const pending = client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadata,
      options,
      done,
    );
    signal.addEventListener('abort', onAbort);
  });
}

async function* responses<Response>(
  stream: ClientReadableStream<Response> | ClientDuplexStream<never, Response>,
  signal: AbortSignal,
): AsyncGenerator<Response, void, undefined> {
  const onAbort = () => stream.cancel();
  signal.addEventListener('abort', onAbort);
  try {
    // destroyOnReturn would close a duplex stream's sending side with a bare error; cancel() below ends both sides.
    for await (const response of stream.iterator({ destroyOnReturn: false })) yield response as Response;
  } catch (error) {
    throw outcome(error, signal);
  } finally {
    signal.removeEventListener('abort', onAbort);
    stream.once('error', () => undefined); // The cancellation that our own leaving causes concerns nobody.
    stream.cancel();
  }
}

/** Writes until `requests` ends, with back-pressure; stops when `closed` is aborted. */
async function send<Request>(
  stream: ClientDuplexStream<Request, unknown>,
  requests: AsyncIterable<Request>,
  closed: AbortSignal,
): Promise<void> {
  for await (const request of requests) {
    if (closed.aborted) return;
    if (!stream.write(request)) await once(stream, 'drain', { signal: closed });
  }
  stream.end();
}

/** What a failed call is thrown as: why the parent's call ended, where that is why this one was cancelled. */
function outcome(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted && signal.reason instanceof RpcError) return signal.reason;
  return isServiceError(error) ? fromServiceError(error) : error;
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error && 'metadata' in error;
}
