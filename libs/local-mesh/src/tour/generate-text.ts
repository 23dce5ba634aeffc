import {
  InferenceServiceService,
  Priority,
  type StreamGenerateResponse,
} from '@gatehouse/contracts/inference';
import type { MeshClient } from '../mesh-client.ts';
import { LANGUAGE_MODEL } from '../mesh-layout.ts';

/** Streams what the mesh's language model makes of a raw prompt, always the same. */
export function generateText(
  client: MeshClient,
  { prompt, maxTokens }: { readonly prompt: string; readonly maxTokens: number },
  extras: { readonly traceparent: string; readonly signal: AbortSignal },
): AsyncIterable<StreamGenerateResponse> {
  return client.serverStream(
    InferenceServiceService.streamGenerate,
    {
      model: LANGUAGE_MODEL,
      input: { $case: 'prompt', value: prompt },
      maxTokens,
      temperature: 0,
      seed: 7,
      stop: [],
      jsonSchema: '',
      priority: Priority.PRIORITY_UNSPECIFIED,
    },
    extras,
  );
}
