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
import { Metadata } from '@grpc/grpc-js';

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

/** The caller's trace: tracing puts this process's own span in its place; with tracing off it is passed on as it is. */
const traceKeys = ['traceparent', 'tracestate'];

/** Calls models on behalf of a caller, whose authorization and trace go along. */
export function modelCalls(channels: Channels, parent: CallContext): ModelCalls {
  const metadata = new Metadata();
  for (const key of traceKeys) {
    for (const value of parent.metadata.get(key)) metadata.add(key, value);
  }
  const call = (bounds: CallBounds) => ({ parent, metadata, ...bounds });
  return {
    generate: (request, bounds) =>
      channels.inference.serverStream(InferenceServiceService.streamGenerate, request, call(bounds)),
    embed: (request, bounds) =>
      channels.embeddings.unary(EmbeddingsServiceService.embed, request, call(bounds)),
  };
}
