import type { FinishReason, GenerationInput, GenerationRequest } from '../engine.ts';

/** What the engine process is started with. */
export interface OpenOptions {
  readonly modelFile: string;
  readonly contextTokensMax: number;
  readonly sequencesMax: number;
  readonly batchTokensMax: number;
  readonly threadsMax: number | undefined;
  readonly kvCacheType: 'f16' | 'q8_0';
}

/** Messages to the engine process. `id` is the service's, unique among calls in flight. */
export type ToEngine =
  | { readonly kind: 'open'; readonly options: OpenOptions }
  | { readonly kind: 'generate'; readonly id: number; readonly request: GenerationRequest }
  | { readonly kind: 'cancel'; readonly id: number }
  | { readonly kind: 'count'; readonly id: number; readonly input: GenerationInput }
  | { readonly kind: 'stats'; readonly id: number };

/** Messages from it. A `generate` is answered by `started`, `delta`s and always exactly one `ended`. */
export type FromEngine =
  | { readonly kind: 'opened' }
  | { readonly kind: 'openFailed'; readonly sentence: string }
  | { readonly kind: 'started'; readonly id: number; readonly inputTokens: number }
  | { readonly kind: 'delta'; readonly id: number; readonly text: string; readonly outputTokens: number }
  | { readonly kind: 'ended'; readonly id: number; readonly outcome: Outcome }
  | { readonly kind: 'counted'; readonly id: number; readonly tokens: number }
  | { readonly kind: 'refused'; readonly id: number; readonly refusal: InputRefusal }
  | { readonly kind: 'stats'; readonly id: number; readonly stats: EngineStats };

export type Outcome =
  | {
      readonly kind: 'completed';
      readonly finishReason: FinishReason;
      readonly inputTokens: number;
      readonly outputTokens: number;
    }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'refused'; readonly refusal: InputRefusal }
  /** A bug or a fault of the engine. `cause` is a type and a stack without content. */
  | { readonly kind: 'failed'; readonly cause: string };

/** A field of the request that the engine cannot take, as BadRequest names it. */
export interface InputRefusal {
  readonly field: string;
  readonly description: string;
}

export interface EngineStats {
  /** Tokens that the model has evaluated since it was opened, input and output. */
  readonly evaluatedTokens: number;
  readonly sequencesFree: number;
}
