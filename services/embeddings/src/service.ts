import {
  EmbeddingsServiceService,
  type EmbedRequest,
  type EmbedResponse,
} from '@gatehouse/contracts/embeddings';
import { type CallContext, defineService, type Service } from '@gatehouse/service-kit';
import { embedStream } from './embed-stream.ts';
import { toEmbedding, truncationPolicy } from './embedding-message.ts';
import type { Embedder } from './engine/embedder.ts';
import { modelNotFound, refusal } from './refusals.ts';

/** EmbeddingsService over the models that were loaded, by their names. */
export function embeddingsService(embedders: ReadonlyMap<string, Embedder>): Service {
  const embedderOf = (model: string) => {
    const embedder = embedders.get(model);
    if (embedder === undefined) throw modelNotFound(model);
    return embedder;
  };
  return defineService(EmbeddingsServiceService, {
    embed: async (request, ctx) => embed(embedderOf(request.model), request, ctx),
    streamEmbed: (requests, ctx) => embedStream(embedderOf, requests, ctx),
  });
}

async function embed(
  embedder: Embedder,
  { model, inputs, options }: EmbedRequest,
  { signal }: CallContext,
): Promise<EmbedResponse> {
  const outcome = await embedder.embed(inputs, { truncation: truncationPolicy(options), signal });
  if (outcome.kind !== 'embedded') throw refusal(outcome, embedder, (index) => `inputs[${index}]`);
  return {
    embeddings: outcome.texts.map((text) => toEmbedding(text, options)),
    model,
    inputTokens: outcome.texts.reduce((sum, { inputTokens }) => sum + inputTokens, 0),
  };
}
