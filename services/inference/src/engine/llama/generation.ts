import type { Token } from 'node-llama-cpp';
import type { FinishReason, GenerationRequest } from '../engine.ts';
import { rankAsPriority } from './batch-order.ts';
import { InputRefused, type OpenModel, type RankedSequence } from './llama-model.ts';
import type { Outcome } from './protocol.ts';
import { StopFilter } from './stop-filter.ts';
import { TokenTextDecoder } from './text-decoder.ts';

/** Tokens that sampling chooses from. Sorting a whole vocabulary for each costs more than a small model's evaluation. */
const candidatesMax = 40;

export interface GenerationEvents {
  started(inputTokens: number): void;
  delta(text: string, outputTokens: number): void;
}

/**
 * Generates on a sequence of the model until the model ends its text, a stop sequence comes up, or max_tokens or the
 * context is used up. After an abort nothing more is evaluated than the step that is under way.
 */
export async function generateText(
  open: OpenModel,
  request: GenerationRequest,
  events: GenerationEvents,
  signal: AbortSignal,
): Promise<Outcome> {
  const input = open.tokenize(request.input);
  const { contextTokensMax } = open.options;
  if (input.length >= contextTokensMax) {
    const field = request.input.kind === 'chat' ? 'chat' : 'prompt';
    throw new InputRefused(
      field,
      `has ${input.length} tokens, which leaves no room for output in the model's ${contextTokensMax}`,
    );
  }
  const grammarEvaluationState = await open.grammar(request.jsonSchema);
  events.started(input.length);
  const taken = open.takeSequence();
  open.gate.join();
  try {
    const last = await evaluateInput(open, taken, input, signal);
    if (signal.aborted) return { kind: 'cancelled' };
    const sampling = {
      temperature: request.temperature,
      topP: request.topP,
      topK: candidatesMax,
      minP: 0,
      evaluationPriority: rankAsPriority(taken.rank),
      ...(request.seed === undefined ? {} : { seed: request.seed }),
      ...(grammarEvaluationState ? { grammarEvaluationState } : {}),
    };
    const outputTokensMax = Math.min(request.maxTokens, contextTokensMax - input.length);
    const text = new OutputText(open, input, request.stop, events);
    const finishReason = await readTokens(
      {
        nextTurn: () => open.gate.turn(),
        tokens: taken.sequence.evaluate(last, sampling),
        outputTokensMax,
        signal,
      },
      text,
    );
    if (finishReason === undefined) return { kind: 'cancelled' };
    return { kind: 'completed', finishReason, inputTokens: input.length, outputTokens: text.tokens };
  } finally {
    open.gate.leave();
    await open.returnSequence(taken);
  }
}

/**
 * Evaluates all but the last part of the input, and returns that. A step of all generations together evaluates about
 * batchTokensMax tokens, so that a long input delays the others' tokens by no more than that.
 */
async function evaluateInput(
  { gate, options }: OpenModel,
  { rank, sequence }: RankedSequence,
  input: readonly Token[],
  signal: AbortSignal,
): Promise<Token[]> {
  let from = 0;
  for (;;) {
    const part = Math.max(1, Math.floor(options.batchTokensMax / gate.members));
    if (input.length - from <= part) return input.slice(from);
    await gate.turn();
    if (signal.aborted) return [];
    await sequence.evaluateWithoutGeneratingNewTokens(input.slice(from, from + part), {
      evaluationPriority: rankAsPriority(rank),
    });
    from += part;
  }
}

interface TokenSource {
  nextTurn(): Promise<void>;
  readonly tokens: AsyncGenerator<Token, void>;
  readonly outputTokensMax: number;
  readonly signal: AbortSignal;
}

/** Undefined when aborted. */
async function readTokens(source: TokenSource, text: OutputText): Promise<FinishReason | undefined> {
  const { nextTurn, tokens, outputTokensMax, signal } = source;
  try {
    while (text.tokens < outputTokensMax) {
      await nextTurn();
      if (signal.aborted) return undefined;
      const { done, value: token } = await tokens.next();
      if (signal.aborted) return undefined;
      if (done) return text.end() ? 'stop_sequence' : 'stop';
      if (text.push(token)) return 'stop_sequence';
    }
    return text.end() ? 'stop_sequence' : 'length';
  } finally {
    await tokens.return();
  }
}

/** The way from tokens to deltas: whole characters, and nothing of a stop sequence. */
class OutputText {
  tokens = 0;
  readonly #decoder: TokenTextDecoder;
  readonly #filter: StopFilter;
  readonly #events: GenerationEvents;

  constructor(open: OpenModel, input: readonly Token[], stop: readonly string[], events: GenerationEvents) {
    this.#decoder = new TokenTextDecoder(open.model, input);
    this.#filter = new StopFilter(stop);
    this.#events = events;
  }

  /** Whether a stop sequence has come up. */
  push(token: Token): boolean {
    this.tokens += 1;
    return this.#emit(this.#decoder.push(token));
  }

  /** Sends what was held back. Whether a stop sequence has come up in it. */
  end(): boolean {
    const stopped = this.#emit(this.#decoder.flush());
    if (!stopped) this.#send(this.#filter.flush());
    return stopped;
  }

  #emit(piece: string): boolean {
    const { text, stopped } = this.#filter.push(piece);
    this.#send(text);
    return stopped;
  }

  #send(text: string): void {
    if (text !== '') this.#events.delta(text, this.tokens);
  }
}
