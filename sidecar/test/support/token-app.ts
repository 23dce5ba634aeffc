import { setTimeout as sleep } from 'node:timers/promises';
import {
  FinishReason,
  type GenerateRequest,
  InferenceServiceService,
  type StreamGenerateResponse,
} from '@gatehouse/contracts/inference';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';

/** What a prompt asks the app for, as JSON. */
export type TokenPlan = {
  readonly input: number;
  /** Tokens of each delta; or so many deltas of one each. */
  readonly deltas: number | readonly number[];
  readonly pauseMs?: number;
};

export type TokenApp = {
  readonly address: string;
  readonly counts: { started: number; cancelled: number };
  stop(): void;
};

/** An inference service that makes as many tokens as its prompt says. */
export async function startTokenApp(): Promise<TokenApp> {
  const counts = { started: 0, cancelled: 0 };
  const server = new Server();
  server.addService(InferenceServiceService, {
    generate: (call: ServerUnaryCall<GenerateRequest, object>, callback: sendUnaryData<object>) => {
      counts.started += 1;
      const { input, deltas } = planOf(call.request);
      const output = sizesOf(deltas).reduce((sum, tokens) => sum + tokens, 0);
      callback(null, { text: 'text', completion: completion(input, output) });
    },
    streamGenerate: (call: ServerWritableStream<GenerateRequest, StreamGenerateResponse>) => {
      counts.started += 1;
      call.on('cancelled', () => (counts.cancelled += 1));
      void stream(call, planOf(call.request));
    },
    countTokens: (_call: unknown, callback: sendUnaryData<object>) => callback(null, { inputTokens: 1 }),
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  return { address: `127.0.0.1:${port}`, counts, stop: () => server.forceShutdown() };
}

async function stream(
  call: ServerWritableStream<GenerateRequest, StreamGenerateResponse>,
  { input, deltas, pauseMs = 0 }: TokenPlan,
): Promise<void> {
  const write = (event: StreamGenerateResponse['event']): void => void call.write({ event });
  write({ $case: 'started', value: { model: call.request.model, inputTokens: input } });
  let outputTokens = 0;
  for (const tokens of sizesOf(deltas)) {
    if (pauseMs > 0) await sleep(pauseMs);
    if (call.cancelled) return;
    outputTokens += tokens;
    write({ $case: 'delta', value: { text: 'x', outputTokens } });
  }
  write({ $case: 'completed', value: completion(input, outputTokens) });
  call.end();
}

function completion(inputTokens: number, outputTokens: number) {
  return {
    finishReason: FinishReason.FINISH_REASON_STOP,
    usage: { inputTokens, outputTokens },
    timings: undefined,
    model: 'small-1',
  };
}

function sizesOf(deltas: TokenPlan['deltas']): readonly number[] {
  return typeof deltas === 'number' ? Array.from({ length: deltas }, () => 1) : deltas;
}

function planOf({ input }: GenerateRequest): TokenPlan {
  return JSON.parse(input?.$case === 'prompt' ? input.value : '{}') as TokenPlan;
}
