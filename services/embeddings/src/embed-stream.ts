import { setMaxListeners } from 'node:events';
import type { EmbedOptions, StreamEmbedRequest, StreamEmbedResponse } from '@gatehouse/contracts/embeddings';
import { type CallContext, invalidArgument, RpcError } from '@gatehouse/service-kit';
import { toEmbedding, truncationPolicy } from './embedding-message.ts';
import type { Embedder } from './engine/embedder.ts';
import { refusal } from './refusals.ts';
import { toRpcStatus } from './rpc-status.ts';

/** Items of one stream that are read and not yet answered; beyond it the caller's messages wait in its window. */
const itemsInFlightMax = 64;

type Answer = Pick<StreamEmbedResponse, 'id' | 'result'>;

interface StreamModel {
  readonly name: string;
  readonly embedder: Embedder;
  readonly options: EmbedOptions | undefined;
}

/** Answers a stream of texts, each as soon as it is computed. */
export async function* embedStream(
  embedderOf: (model: string) => Embedder,
  requests: AsyncIterable<StreamEmbedRequest>,
  ctx: CallContext,
): AsyncGenerator<StreamEmbedResponse> {
  const ended = new AbortController();
  const signal = AbortSignal.any([ctx.signal, ended.signal]);
  setMaxListeners(itemsInFlightMax + 1, signal);
  const answers = new Answers();
  let model: StreamModel | undefined;
  let inputTokens = 0;
  const reading = (async () => {
    for await (const request of requests) {
      model ??= firstModel(request, embedderOf);
      answers.begin();
      void answerItem(request, model, signal).then(
        (answer) => answers.push(answer),
        (error: unknown) => answers.fail(error),
      );
      await answers.room();
      if (signal.aborted) break;
    }
    answers.end();
  })().catch((error: unknown) => answers.fail(error));
  try {
    for await (const answer of answers.take()) {
      if (answer.result?.$case === 'embedding') inputTokens += answer.result.value.inputTokens;
      yield { ...answer, inputTokens };
    }
    await reading;
  } finally {
    ended.abort(new Error('the stream has ended'));
    answers.end();
  }
}

/** Items that are being computed and answers that wait to be sent, together bounded. */
class Answers {
  readonly #ready: Answer[] = [];
  #inFlight = 0;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #changed = Promise.withResolvers<void>();

  begin(): void {
    this.#inFlight += 1;
  }

  push(answer: Answer): void {
    this.#ready.push(answer);
    this.#change();
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#change();
  }

  /** No more items begin. */
  end(): void {
    this.#ended = true;
    this.#change();
  }

  /** Resolves when another item may begin. */
  async room(): Promise<void> {
    while (this.#inFlight >= itemsInFlightMax && !this.#ended && !this.#failure) await this.#changed.promise;
  }

  /** Answers as they come, until the last item is answered. Throws what failed. */
  async *take(): AsyncGenerator<Answer> {
    while (true) {
      if (this.#failure) throw this.#failure.error;
      const answer = this.#ready.shift();
      if (answer !== undefined) {
        yield answer;
        // The item gives up its place only when its answer has left: a slow reader slows its own writing down.
        this.#inFlight -= 1;
        this.#change();
      } else if (this.#ended && this.#inFlight === 0) return;
      else await this.#changed.promise;
    }
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}

function firstModel(request: StreamEmbedRequest, embedderOf: (model: string) => Embedder): StreamModel {
  if (request.model === '') {
    throw invalidArgument([{ field: 'model', description: 'is required on the first message of a stream' }]);
  }
  return { name: request.model, embedder: embedderOf(request.model), options: request.options };
}

/** Answers one item. What the item did wrong is its own answer; anything else ends the stream. */
async function answerItem(
  { id, input, model: asked }: StreamEmbedRequest,
  { name, embedder, options }: StreamModel,
  signal: AbortSignal,
): Promise<Answer> {
  try {
    if (asked !== '' && asked !== name) {
      const description = `a stream stays with the model of its first message, ${name}`;
      throw invalidArgument([{ field: 'model', description }]);
    }
    const outcome = await embedder.embed([input], { truncation: truncationPolicy(options), signal });
    if (outcome.kind !== 'embedded') throw refusal(outcome, embedder, () => 'input');
    return { id, result: { $case: 'embedding', value: toEmbedding(outcome.texts[0]!, options) } };
  } catch (error) {
    if (signal.aborted || !(error instanceof RpcError)) throw error;
    return { id, result: { $case: 'error', value: toRpcStatus(error) } };
  }
}
