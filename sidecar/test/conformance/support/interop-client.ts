import {
  type CallOptions,
  type Client,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  credentials,
  Metadata,
  type requestCallback,
  type ServiceError,
  type status,
} from '@grpc/grpc-js';
import { UPSTREAM } from './conformance-mesh.ts';
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

type Unary<I, O> = (
  request: I,
  metadata: Metadata,
  options: CallOptions,
  callback: requestCallback<O>,
) => ClientUnaryCall;

export type TestClient = Client & {
  readonly emptyCall: Unary<object, object>;
  readonly unaryCall: Unary<SimpleRequest, SimpleResponse>;
  readonly unimplementedCall: Unary<object, object>;
  streamingOutputCall(request: StreamingOutputCallRequest): ClientReadableStream<StreamingOutputCallResponse>;
  streamingInputCall(
    callback: requestCallback<StreamingInputCallResponse>,
  ): ClientWritableStream<StreamingInputCallRequest>;
  fullDuplexCall(
    metadata: Metadata,
    options: CallOptions,
  ): ClientDuplexStream<StreamingOutputCallRequest, StreamingOutputCallResponse>;
};

/** grpc-js's client of the service, through the egress listener. */
export function testClient(address: string, options: ClientOptions = {}): TestClient {
  return new TestService(address, credentials.createInsecure(), {
    'grpc.default_authority': UPSTREAM,
    ...options,
  }) as unknown as TestClient;
}

export function unimplementedClient(address: string): Pick<TestClient, 'unimplementedCall' | 'close'> {
  return new UnimplementedService(address, credentials.createInsecure(), {
    'grpc.default_authority': UPSTREAM,
  }) as unknown as TestClient;
}

/** How a call ended: status, answers, and what came beside them. */
export type Ended<O> = {
  readonly code: status;
  readonly message: string;
  readonly answers: readonly O[];
  readonly initial: Metadata;
  readonly trailing: Metadata;
};

/** Makes a unary call; `method` is bound to its client. */
export function unary<I, O>(
  method: Unary<I, O>,
  request: I,
  metadata: Metadata = new Metadata(),
): Promise<Ended<O>> {
  return new Promise((resolve) => {
    let initial = new Metadata();
    let trailing = new Metadata();
    let outcome: { error: ServiceError | null; answer: O | undefined } | null = null;
    const call = method(request, metadata, {}, (error, answer) => {
      outcome = { error, answer };
    });
    call.on('metadata', (received) => {
      initial = received;
    });
    // The status comes last, and after the callback's turn.
    call.on('status', (ended) => {
      trailing = ended.metadata;
      queueMicrotask(() =>
        resolve({
          code: ended.code,
          message: ended.details,
          answers: outcome?.answer === undefined || outcome.answer === null ? [] : [outcome.answer],
          initial,
          trailing,
        }),
      );
    });
  });
}

/** Collects what a streaming call is answered, to its end. */
export function collect<O>(
  call: ClientReadableStream<O>,
  onAnswer: (answer: O, count: number) => void = () => {},
): Promise<Ended<O>> {
  const answers: O[] = [];
  let initial = new Metadata();
  call.on('metadata', (metadata) => {
    initial = metadata;
  });
  call.on('data', (answer: O) => {
    answers.push(answer);
    onAnswer(answer, answers.length);
  });
  call.on('error', () => {});
  return new Promise((resolve) => {
    call.on('status', (ended) =>
      resolve({ code: ended.code, message: ended.details, answers, initial, trailing: ended.metadata }),
    );
  });
}
