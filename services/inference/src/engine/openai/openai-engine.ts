import { invalidArgument, RpcError } from '@gatehouse/service-kit';
import { status } from '@grpc/grpc-js';
import { EventSourceParserStream } from 'eventsource-parser/stream';
import type { OpenAiConfig } from '../../config.ts';
import { AdmissionQueue } from '../admission-queue.ts';
import type {
  Engine,
  FinishReason,
  GenerationEvent,
  GenerationInput,
  GenerationRequest,
  ModelInfo,
} from '../engine.ts';
import { type ChunkEvent, readChunk } from './chunk.ts';
import { countTokens } from './count-tokens.ts';
import { type UpstreamFault, upstreamError } from './upstream-fault.ts';

/** What one server-sent event may have, in characters. */
const eventCharsMax = 1024 * 1024;

export interface OpenAiEngineDeps {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/**
 * Generates at an HTTP server that speaks OpenAI's API: vLLM, llama-server, TGI. It is asked for usage in the stream;
 * where it gives none, every piece of text counts as one output token and the input counts as 0. A stop sequence is
 * told from a natural end only where the server says which (vLLM's `stop_reason`).
 */
export class OpenAiEngine implements Engine {
  readonly info: ModelInfo;
  readonly #config: OpenAiConfig;
  readonly #now: () => number;
  readonly #queue: AdmissionQueue;

  constructor(config: OpenAiConfig, { now }: OpenAiEngineDeps) {
    const { name, contextTokensMax, outputTokensDefault, supportsJsonSchema } = config;
    this.info = { name, engine: 'openai', contextTokensMax, outputTokensDefault, supportsJsonSchema };
    this.#config = config;
    this.#now = now;
    const limits = { runningMax: config.requestsMax, queueDepthMax: config.queueDepthMax };
    this.#queue = new AdmissionQueue(name, limits, now);
  }

  async *generate(
    request: GenerationRequest,
    signal: AbortSignal,
  ): AsyncGenerator<GenerationEvent, void, undefined> {
    const leave = await this.#queue.enter(request.priority, signal);
    const hangUp = new AbortController();
    const until = AbortSignal.any([signal, hangUp.signal]);
    try {
      const events = await this.#post(request, until);
      yield { kind: 'started', inputTokens: 0 };
      yield* this.#read(events);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof RpcError) throw error;
      throw this.#fault({ kind: 'unreachable', cause: networkCause(error) });
    } finally {
      hangUp.abort(); // Closes the connection where the answer was not read to its end.
      leave();
    }
  }

  async countTokens(input: GenerationInput, signal: AbortSignal): Promise<number> {
    try {
      const tokens = await countTokens(this.#config, input, signal);
      if (tokens !== undefined) return tokens;
    } catch (error) {
      signal.throwIfAborted();
      throw this.#fault({ kind: 'unreachable', cause: networkCause(error) });
    }
    throw new RpcError(
      status.UNIMPLEMENTED,
      `The upstream of model ${this.info.name} has no tokenizer to ask.`,
      {
        errorInfo: { reason: 'UPSTREAM_HAS_NO_TOKENIZER', metadata: { model: this.info.name } },
      },
    );
  }

  get load(): { waiting: number; running: number } {
    return { waiting: this.#queue.waiting, running: this.#queue.running };
  }

  /** An upstream's state is only known by calling it. */
  onReadiness(): void {}

  async close(): Promise<void> {}

  async #post(request: GenerationRequest, signal: AbortSignal): Promise<AsyncIterable<ChunkEvent>> {
    const path = request.input.kind === 'chat' ? 'chat/completions' : 'completions';
    const response = await fetch(`${this.#config.baseUrl.replace(/\/$/, '')}/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
      body: JSON.stringify(this.#body(request)),
      signal,
    });
    if (!response.ok) {
      const retryAfter = response.headers.get('retry-after');
      throw this.#fault({ kind: 'status', httpStatus: response.status, retryAfter });
    }
    if (!response.body || !response.headers.get('content-type')?.startsWith('text/event-stream')) {
      throw this.#fault({ kind: 'malformed', what: 'an answer that is no event stream' });
    }
    return chunkEvents(response.body);
  }

  #body({
    input,
    maxTokens,
    temperature,
    topP,
    seed,
    stop,
    jsonSchema,
  }: GenerationRequest): Record<string, unknown> {
    return {
      model: this.#config.upstreamModel ?? this.info.name,
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: maxTokens,
      temperature,
      top_p: topP,
      ...(input.kind === 'chat' ? { messages: input.messages } : { prompt: input.text }),
      ...(seed === undefined ? {} : { seed }),
      ...(stop.length > 0 ? { stop } : {}),
      ...(jsonSchema === '' ? {} : { response_format: responseFormat(jsonSchema) }),
    };
  }

  async *#read(events: AsyncIterable<ChunkEvent>): AsyncGenerator<GenerationEvent, void, undefined> {
    let outputTokens = 0;
    let inputTokens = 0;
    let finishReason: FinishReason | undefined;
    try {
      for await (const event of events) {
        if (event.kind === 'done') break;
        if (event.kind === 'malformed') throw this.#fault(event);
        if (event.kind === 'error') throw this.#fault({ kind: 'failed', outputTokens });
        const { choices, usage } = event.chunk;
        const choice = choices[0];
        const text = choice?.delta?.content ?? choice?.text ?? '';
        if (text !== '') outputTokens += 1;
        if (usage) {
          // Counts only grow within a call, whatever mixture of counted and reported tokens a server sends.
          outputTokens = Math.max(usage.completion_tokens, text === '' ? 0 : outputTokens);
          inputTokens = usage.prompt_tokens;
        }
        if (text !== '') yield { kind: 'delta', text, outputTokens };
        if (choice?.finish_reason) finishReason = finishReasonOf(choice.finish_reason, choice.stop_reason);
      }
    } catch (error) {
      if (error instanceof RpcError) throw error;
      if (isOversized(error)) throw this.#fault({ kind: 'malformed', what: 'an event that is too large' });
      throw this.#fault({ kind: 'cut', outputTokens });
    }
    if (!finishReason) throw this.#fault({ kind: 'cut', outputTokens });
    yield { kind: 'completed', finishReason, inputTokens, outputTokens };
  }

  #fault(fault: UpstreamFault): RpcError {
    return upstreamError(this.info.name, fault, this.#now());
  }
}

async function* chunkEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ChunkEvent> {
  const messages = body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .pipeThrough(new EventSourceParserStream({ maxBufferSize: eventCharsMax }));
  for await (const { data } of messages) yield readChunk(data);
}

function responseFormat(jsonSchema: string): unknown {
  let schema: unknown;
  try {
    schema = JSON.parse(jsonSchema);
  } catch {
    throw invalidArgument([{ field: 'json_schema', description: 'must be JSON' }]);
  }
  return { type: 'json_schema', json_schema: { name: 'output', strict: true, schema } };
}

function finishReasonOf(finish: string, stopReason: string | number | null | undefined): FinishReason {
  if (finish === 'length') return 'length';
  return typeof stopReason === 'string' ? 'stop_sequence' : 'stop';
}

function isOversized(error: unknown): boolean {
  return error instanceof Error && 'type' in error && error.type === 'max-buffer-size-exceeded';
}

/** The system's code, as ECONNREFUSED; never a message. */
function networkCause(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : undefined;
  return cause instanceof Error && 'code' in cause ? String(cause.code) : 'UNKNOWN';
}
