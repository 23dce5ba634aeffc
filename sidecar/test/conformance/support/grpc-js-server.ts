import { setTimeout as delay } from 'node:timers/promises';
import {
  Metadata,
  type MetadataValue,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import {
  type SimpleRequest,
  type SimpleResponse,
  type StreamingInputCallRequest,
  type StreamingInputCallResponse,
  type StreamingOutputCallRequest,
  type StreamingOutputCallResponse,
  TestService,
  UnimplementedService,
} from './test-service.ts';

export const ECHO_INITIAL = 'x-grpc-test-echo-initial';
export const ECHO_TRAILING = 'x-grpc-test-echo-trailing-bin';

export type AppServer = { readonly address: string; stop(): void };

/**
 * grpc.testing.TestService with grpc-js. It serves what the contract leaves out as well, with OK: a caller that is told
 * UNIMPLEMENTED has been told so by a sidecar.
 */
export async function startGrpcJsServer(): Promise<AppServer> {
  const server = new Server();
  const empty = (_call: unknown, callback: sendUnaryData<object>): void => callback(null, {});
  server.addService(TestService.service, {
    emptyCall: empty,
    unimplementedCall: empty,
    unaryCall,
    streamingInputCall,
    streamingOutputCall: (
      call: ServerWritableStream<StreamingOutputCallRequest, StreamingOutputCallResponse>,
    ) => {
      void answer(call, call.request).then(() => call.end());
    },
    fullDuplexCall,
  });
  server.addService(UnimplementedService.service, { unimplementedCall: empty });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return { address: `127.0.0.1:${port}`, stop: () => server.forceShutdown() };
}

function unaryCall(
  call: ServerUnaryCall<SimpleRequest, SimpleResponse>,
  callback: sendUnaryData<SimpleResponse>,
): void {
  const trailers = echoMetadata(call);
  const { responseStatus, responseSize } = call.request;
  if (responseStatus) {
    callback({ code: responseStatus.code, details: responseStatus.message, metadata: trailers });
  } else {
    callback(null, { payload: { body: Buffer.alloc(responseSize ?? 0) } }, trailers);
  }
}

function streamingInputCall(
  call: ServerReadableStream<StreamingInputCallRequest, StreamingInputCallResponse>,
  callback: sendUnaryData<StreamingInputCallResponse>,
): void {
  let aggregatedPayloadSize = 0;
  call.on('data', ({ payload }: StreamingInputCallRequest) => {
    aggregatedPayloadSize += payload?.body.length ?? 0;
  });
  call.on('end', () => callback(null, { aggregatedPayloadSize }));
}

function fullDuplexCall(
  call: ServerDuplexStream<StreamingOutputCallRequest, StreamingOutputCallResponse>,
): void {
  const trailers = echoMetadata(call);
  // Requests are answered one after the other, however long each takes.
  let answered = Promise.resolve();
  call.on('data', (request: StreamingOutputCallRequest) => {
    if (request.responseStatus) {
      const { code, message } = request.responseStatus;
      call.emit('error', { code, details: message, metadata: trailers });
    } else {
      answered = answered.then(() => answer(call, request));
    }
  });
  call.on('end', () => void answered.then(() => call.end(trailers)));
}

type Answering = {
  write(message: StreamingOutputCallResponse): boolean;
};

async function answer(call: Answering, request: StreamingOutputCallRequest): Promise<void> {
  for (const { size, intervalUs } of request.responseParameters ?? []) {
    if (intervalUs) await delay(intervalUs / 1_000);
    call.write({ payload: { body: Buffer.alloc(size) } });
  }
}

/** Sends back the one header that asks for it at once. @returns the trailers, with the other */
function echoMetadata(call: {
  readonly metadata: Metadata;
  sendMetadata(metadata: Metadata): void;
}): Metadata {
  const copy = (key: string): Metadata => {
    const metadata = new Metadata();
    for (const value of call.metadata.get(key) as MetadataValue[]) metadata.add(key, value);
    return metadata;
  };
  if (call.metadata.get(ECHO_INITIAL).length > 0) call.sendMetadata(copy(ECHO_INITIAL));
  return copy(ECHO_TRAILING);
}
