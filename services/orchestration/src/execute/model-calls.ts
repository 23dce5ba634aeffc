import {
  EmbeddingsServiceService,
  type EmbedRequest,
  type EmbedResponse,
} from '@gatehouse/contracts/embeddings';
import {
  type GenerateRequest,
  InferenceServiceService,
  type StreamGenerateResponse,
} from '@gatehouse/contracts/inference';
import type { CallContext, EgressChannel } from '@gatehouse/service-kit';

/** How long a child call may go on. */
export interface CallBounds {
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch; Infinity for none. */
  readonly deadline: number;
}

/** The calls that nodes make. A refusal is thrown as an RpcError with the callee's details. */
export interface ModelCalls {
  /** Leaving the iteration cancels the call. */
  generate(request: GenerateRequest, bounds: CallBounds): AsyncIterable<StreamGenerateResponse>;
  embed(request: EmbedRequest, bounds: CallBounds): Promise<EmbedResponse>;
}

/** The channels through the own sidecar's egress. */
export interface Channels {
  readonly inference: EgressChannel;
  readonly embeddings: EgressChannel;
}

/** Calls models on behalf of a caller, whose authorization goes along. */
export function modelCalls(channels: Channels, parent: CallContext): ModelCalls {
  return {
    generate: (request, bounds) =>
      channels.inference.serverStream(InferenceServiceService.streamGenerate, request, { parent, ...bounds }),
    embed: (request, bounds) =>
      channels.embeddings.unary(EmbeddingsServiceService.embed, request, { parent, ...bounds }),
  };
}
