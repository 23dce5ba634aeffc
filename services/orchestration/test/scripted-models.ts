import { type EventEmitter, once } from 'node:events';
import {
  EmbeddingsServiceService,
  type EmbedRequest,
  type EmbedResponse,
} from '@gatehouse/contracts/embeddings';
import {
  FinishReason,
  type GenerateRequest,
  InferenceServiceService,
  type StreamGenerateResponse,
} from '@gatehouse/contracts/inference';
import {
  type Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type StatusObject,
  type sendUnaryData,
} from '@grpc/grpc-js';

/** One call as the models saw it. */
export interface SeenCall {
  readonly model: string;
  /** The user message, or the texts to embed. */
  readonly texts: readonly string[];
  readonly system: string | undefined;
  readonly metadata: Metadata;
  readonly authority: string;
  /** Milliseconds since the epoch. */
  readonly deadline: number;
  readonly request: GenerateRequest | EmbedRequest;
  /** Aborted when the caller cancelled or its deadline passed. */
  readonly signal: AbortSignal;
}

/** What a scripted generation does: says pieces, and ends by returning the reason, or with a status. */
export type GenerateScript = (
  call: SeenCall,
  say: (text: string) => Promise<void>,
) => Promise<FinishReason | Partial<StatusObject> | 'silent'>;
type EmbedScript = (call: SeenCall) => Promise<Partial<StatusObject> | undefined>;

export interface ScriptedModels {
  readonly address: string;
  readonly calls: SeenCall[];
  /** Calls that ended by the caller's cancellation or deadline. */
  cancelled(): number;
  /** Forgets what was seen and takes other scripts. */
  reset(scripts: Scripts): void;
  close(): void;
}

interface Scripts {
  readonly generate?: Record<string, GenerateScript>;
  readonly embed?: Record<string, EmbedScript>;
}

/**
 * A server that answers the inference and embeddings contracts as scripted, by model. Without a script a generation
 * says its prompt word by word, and a text's vector counts its letters a to z.
 */
export async function startScriptedModels(): Promise<ScriptedModels> {
  let scripts: Scripts = {};
  const calls: SeenCall[] = [];
  const see = (
    call:
      | ServerWritableStream<GenerateRequest, StreamGenerateResponse>
      | ServerUnaryCall<EmbedRequest, EmbedResponse>,
    texts: readonly string[],
    system?: string,
  ): SeenCall => {
    const ended = new AbortController();
    (call as EventEmitter).on('cancelled', () => {
      ended.abort();
    });
    const seen = {
      model: call.request.model,
      texts,
      system,
      metadata: call.metadata,
      authority: call.getHost(),
      deadline: Number(call.getDeadline()),
      request: call.request,
      signal: ended.signal,
    };
    calls.push(seen);
    return seen;
  };
  const server = new Server();
  server.addService(InferenceServiceService, {
    streamGenerate: (call: ServerWritableStream<GenerateRequest, StreamGenerateResponse>) => {
      const { input, model } = call.request;
      const messages = input?.$case === 'chat' ? input.value.messages : [];
      const user = messages.at(-1)?.content ?? '';
      const seen = see(call, [user], messages.length > 1 ? messages[0]?.content : undefined);
      void answerGenerate(call, seen, scripts.generate?.[model] ?? echo);
    },
  });
  server.addService(EmbeddingsServiceService, {
    embed: (call: ServerUnaryCall<EmbedRequest, EmbedResponse>, reply: sendUnaryData<EmbedResponse>) => {
      const seen = see(call, call.request.inputs);
      void answerEmbed(seen, reply, scripts.embed?.[seen.model]);
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return {
    address: `127.0.0.1:${port}`,
    calls,
    cancelled: () => calls.filter(({ signal }) => signal.aborted).length,
    reset: (next) => {
      scripts = next;
      calls.length = 0;
    },
    close: () => server.forceShutdown(),
  };
}

const echo: GenerateScript = async ({ texts }, say) => {
  for (const piece of texts[0]?.match(/\s*\S+/g) ?? []) await say(piece);
  return FinishReason.FINISH_REASON_STOP;
};

async function answerGenerate(
  call: ServerWritableStream<GenerateRequest, StreamGenerateResponse>,
  seen: SeenCall,
  script: GenerateScript,
): Promise<void> {
  let outputTokens = 0;
  const write = async (event: NonNullable<StreamGenerateResponse['event']>): Promise<void> => {
    if (!call.write({ event }) && !seen.signal.aborted) await once(call, 'drain', { signal: seen.signal });
  };
  try {
    await write({ $case: 'started', value: { model: seen.model, inputTokens: 7 } });
    const ended = await script(seen, async (text) => {
      outputTokens += 1;
      await write({ $case: 'delta', value: { text, outputTokens } });
    });
    if (typeof ended === 'object') {
      call.emit('error', ended);
      return;
    }
    if (ended !== 'silent') {
      const usage = { inputTokens: 7, outputTokens };
      await write({
        $case: 'completed',
        value: { finishReason: ended, usage, timings: undefined, model: seen.model },
      });
    }
    call.end();
  } catch (error) {
    if (!seen.signal.aborted) throw error;
  }
}

async function answerEmbed(
  seen: SeenCall,
  reply: sendUnaryData<EmbedResponse>,
  script: EmbedScript | undefined,
): Promise<void> {
  const refusal = await script?.(seen);
  if (refusal) reply(refusal);
  else
    reply(null, { embeddings: seen.texts.map(letters), model: seen.model, inputTokens: seen.texts.length });
}

/** Never ends by itself. */
export const forever: GenerateScript = async ({ signal }, say) => {
  await say('begun');
  if (!signal.aborted) await once(signal, 'abort');
  return 'silent';
};

function letters(text: string) {
  const values = Array.from({ length: 26 }, () => 0);
  for (const letter of text.toLowerCase().matchAll(/[a-z]/g)) {
    const at = letter[0].charCodeAt(0) - 97;
    values[at] = (values[at] ?? 0) + 1;
  }
  return { vector: { $case: 'float32' as const, value: { values } }, inputTokens: 1, truncated: false };
}
