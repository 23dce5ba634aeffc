import { decodeStatusDetails, type StatusDetails } from '@gatehouse/contracts';
import type { EchoRequest, EchoResponse } from '@gatehouse/testing';
import {
  type CallOptions,
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';

export const CALL_KINDS = ['unary', 'clientStream', 'serverStream', 'bidi'] as const;
export type CallKind = (typeof CALL_KINDS)[number];

/** How a call ended, whatever its kind. */
export type Ended = {
  readonly code: status;
  readonly message: string;
  readonly answers: readonly EchoResponse[];
  readonly details: StatusDetails;
  /** The response's head had come. */
  readonly hadHead: boolean;
};

export type RunningCall = {
  readonly ended: Promise<Ended>;
  /** Resolves with the first answer of a stream. */
  readonly firstAnswer: Promise<void>;
  /** One more request of a stream that was kept open. */
  send(request: EchoRequest): void;
  /** No more messages of a stream that was kept open. */
  end(): void;
  cancel(): void;
  pause(): void;
  resume(): void;
};

type AnyCall = ClientUnaryCall &
  ClientReadableStream<EchoResponse> &
  ClientWritableStream<EchoRequest> &
  ClientDuplexStream<EchoRequest, EchoResponse>;

type EchoMethod = CallKind | 'repeatable' | 'unclassified';

/** A client of the echo service; grpc-js does not type the methods of a service that is loaded at run time. */
export type EchoClientType = Client & Readonly<Record<EchoMethod, (...args: readonly unknown[]) => AnyCall>>;

export type CallOptionsMore = {
  readonly timeoutMs?: number;
  readonly metadata?: Record<string, string>;
  readonly keepOpen?: boolean;
};

/** Makes a call of any kind with these requests (one for kinds that take one). */
export function startCall(
  client: EchoClientType,
  kind: CallKind | 'repeatable',
  requests: readonly EchoRequest[],
  more: CallOptionsMore = {},
): RunningCall {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(more.metadata ?? {})) metadata.set(key, value);
  const options: CallOptions = {
    deadline: performance.timeOrigin + performance.now() + (more.timeoutMs ?? 20_000),
  };
  const answers: EchoResponse[] = [];
  const end = Promise.withResolvers<Ended>();
  const first = Promise.withResolvers<void>();
  let hadHead = false;
  const settle = (code: status, message: string, trailers?: Metadata): void => {
    const encoded = trailers?.get('grpc-status-details-bin')[0];
    end.resolve({
      code,
      message,
      answers,
      details: Buffer.isBuffer(encoded) ? decodeStatusDetails(encoded) : {},
      hadHead,
    });
    first.resolve();
  };
  const callback = (error: ServiceError | null, answer: EchoResponse): void => {
    if (error === null) answers.push(answer);
    settle(error?.code ?? status.OK, error?.details ?? '', error?.metadata);
  };
  const single = kind === 'unary' || kind === 'repeatable';
  const call: AnyCall = single
    ? client[kind](requests[0], metadata, options, callback)
    : kind === 'clientStream'
      ? client[kind](metadata, options, callback)
      : kind === 'serverStream'
        ? client[kind](requests[0], metadata, options)
        : client[kind](metadata, options);
  call.on('metadata', () => (hadHead = true));
  if (kind === 'serverStream' || kind === 'bidi') {
    call.on('data', (answer: EchoResponse) => {
      answers.push(answer);
      first.resolve();
    });
    call.on('error', (error: ServiceError) => settle(error.code, error.details, error.metadata));
    call.on('end', () => settle(status.OK, ''));
  }
  if (kind === 'clientStream' || kind === 'bidi') {
    for (const request of requests) call.write(request);
    if (!more.keepOpen) call.end();
  }
  return {
    ended: end.promise,
    firstAnswer: first.promise,
    send: (request) => call.write(request),
    end: () => call.end(),
    cancel: () => call.cancel(),
    pause: () => call.pause(),
    resume: () => call.resume(),
  };
}

export async function run(...args: Parameters<typeof startCall>): Promise<Ended> {
  return startCall(...args).ended;
}
