import {
  type GenerateRequest,
  type GenerateResponse,
  InferenceServiceService,
  type StreamGenerateResponse,
} from '@gatehouse/contracts/inference';
import {
  type Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type status,
} from '@grpc/grpc-js';

/** What the app does with the next calls. */
type ModelAnswer = {
  /** Of a stream: each is a message. */
  readonly pieces?: readonly string[];
  /** Of a unary call. */
  readonly text?: string;
  readonly head?: Metadata;
  /** Ends with this status in place of OK, after the pieces. */
  readonly failure?: { readonly code: status; readonly details: string; readonly metadata?: Metadata };
};

/** The inference service as far as protection is concerned: keeps what it was asked, and answers what it is told to. */
export type ModelApp = {
  readonly address: string;
  readonly requests: readonly GenerateRequest[];
  readonly metadata: readonly Metadata[];
  readonly cancelled: () => number;
  answer: ModelAnswer;
  stop(): void;
};

type Stream = ServerWritableStream<GenerateRequest, StreamGenerateResponse>;

export async function startModelApp(address: string): Promise<ModelApp> {
  const requests: GenerateRequest[] = [];
  const metadata: Metadata[] = [];
  let cancelled = 0;
  const app = { address, requests, metadata, cancelled: () => cancelled, answer: {} as ModelAnswer };
  const generate = (
    call: ServerUnaryCall<GenerateRequest, GenerateResponse>,
    reply: sendUnaryData<GenerateResponse>,
  ): void => {
    requests.push(call.request);
    metadata.push(call.metadata);
    const { head, failure, text = '' } = app.answer;
    if (head !== undefined) call.sendMetadata(head);
    if (failure === undefined) reply(null, { text, completion: undefined });
    else reply(failure);
  };
  const streamGenerate = (call: Stream): void => {
    requests.push(call.request);
    metadata.push(call.metadata);
    call.on('cancelled', () => (cancelled += 1));
    const { head, failure, pieces = [] } = app.answer;
    if (head !== undefined) call.sendMetadata(head);
    call.write({ event: { $case: 'started', value: { model: 'm', inputTokens: 3 } } });
    for (const [index, text] of pieces.entries())
      call.write({ event: { $case: 'delta', value: { text, outputTokens: index + 1 } } });
    if (failure !== undefined) {
      call.emit('error', failure);
      return;
    }
    call.write({ event: { $case: 'completed', value: completion(pieces.length) } });
    call.end();
  };
  const server = new Server();
  server.addService(InferenceServiceService, { generate, streamGenerate } as never);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  return Object.assign(app, { stop: () => server.forceShutdown() });
}

function completion(outputTokens: number) {
  return {
    finishReason: 1,
    usage: { inputTokens: 3, outputTokens },
    timings: undefined,
    model: 'm',
  } as const;
}
