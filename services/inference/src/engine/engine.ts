/** What the service asks of whatever computes. Two engines implement it: llama/ and openai/. */
export interface Engine {
  readonly info: ModelInfo;
  /** Calls that wait for a place, and calls that have one. */
  readonly load: { readonly waiting: number; readonly running: number };
  /**
   * Yields `started`, then `delta`s, then `completed`. Aborting the signal, or leaving the iteration, stops the engine
   * within one token and frees what the call held.
   * @throws RpcError for whatever the caller may know; the signal's reason when aborted
   */
  generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined>;
  /** Tokens of the input as generate would see it. */
  countTokens(input: GenerationInput, signal: AbortSignal): Promise<number>;
  /** Calls back when the engine becomes unable to answer, and when it is able again. */
  onReadiness(listener: (ready: boolean) => void): void;
  close(): Promise<void>;
}

export interface ModelInfo {
  readonly name: string;
  readonly engine: 'llama.cpp' | 'openai';
  readonly contextTokensMax: number;
  readonly outputTokensDefault: number;
  readonly supportsJsonSchema: boolean;
}

export type GenerationInput =
  | { readonly kind: 'chat'; readonly messages: readonly ChatTurn[] }
  | { readonly kind: 'prompt'; readonly text: string };

export interface ChatTurn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export interface GenerationRequest {
  readonly input: GenerationInput;
  readonly maxTokens: number;
  /** 0 always takes the likeliest token. */
  readonly temperature: number;
  readonly topP: number;
  readonly seed: number | undefined;
  readonly stop: readonly string[];
  /** JSON text of the schema, or empty. */
  readonly jsonSchema: string;
  /** Higher goes first where calls wait. */
  readonly priority: number;
}

export type FinishReason = 'stop' | 'stop_sequence' | 'length';

export type GenerationEvent =
  /** `inputTokens` is 0 where the engine learns it only at the end (openai). */
  | { readonly kind: 'started'; readonly inputTokens: number }
  /** `outputTokens` counts from the beginning of the call. */
  | { readonly kind: 'delta'; readonly text: string; readonly outputTokens: number }
  | {
      readonly kind: 'completed';
      readonly finishReason: FinishReason;
      readonly inputTokens: number;
      readonly outputTokens: number;
    };
