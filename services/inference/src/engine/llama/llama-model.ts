import {
  type ChatHistoryItem,
  type GbnfJsonSchema,
  getLlama,
  JinjaTemplateChatWrapper,
  type Llama,
  type LlamaContext,
  type LlamaContextSequence,
  type LlamaGrammar,
  LlamaGrammarEvaluationState,
  LlamaLogLevel,
  type LlamaModel,
  type Token,
} from 'node-llama-cpp';
import type { ChatTurn, GenerationInput } from '../engine.ts';
import { inRankOrder } from './batch-order.ts';
import { checkJsonSchema } from './json-schema.ts';
import type { EngineStats, InputRefusal, OpenOptions } from './protocol.ts';
import { StepGate } from './step-gate.ts';

/** Compiled grammars that are kept: callers tend to ask for the same schema again. */
const grammarsMax = 16;

const kvTypes = { f16: 'F16', q8_0: 'Q8_0' } as const;

/** A refusal of the request's input, thrown inside the engine process and sent to the service as a value. */
export class InputRefused extends Error {
  readonly refusal: InputRefusal;

  constructor(field: string, description: string) {
    super(description);
    this.refusal = { field, description };
  }
}

/** One of the context's sequences with its index. */
export interface RankedSequence {
  readonly rank: number;
  readonly sequence: LlamaContextSequence;
}

/** A GGUF model with the sequences of one shared context: llama.cpp evaluates them in one batch. */
export class OpenModel {
  readonly model: LlamaModel;
  readonly options: OpenOptions;
  readonly gate = new StepGate();
  readonly #llama: Llama;
  readonly #chat: JinjaTemplateChatWrapper | undefined;
  readonly #sequences: RankedSequence[];
  /** The lowest rank first, so that those in use follow one another (see batch-order.ts). */
  readonly #free: RankedSequence[];
  readonly #grammars = new Map<string, Promise<LlamaGrammar>>();

  private constructor(llama: Llama, context: LlamaContext, options: OpenOptions) {
    this.#llama = llama;
    this.model = context.model;
    this.options = options;
    const template = this.model.fileInfo.metadata.tokenizer?.chat_template;
    this.#chat = template
      ? new JinjaTemplateChatWrapper({ template, tokenizer: this.model.tokenizer })
      : undefined;
    this.#sequences = Array.from({ length: options.sequencesMax }, (_, rank) => ({
      rank,
      sequence: context.getSequence(),
    }));
    this.#free = [...this.#sequences];
  }

  /** Throws what llama.cpp says about a file that it cannot load. */
  static async open(options: OpenOptions, threadsMax: number): Promise<OpenModel> {
    const llama = await getLlama({
      build: 'never',
      gpu: false,
      skipDownload: true,
      progressLogs: false,
      logLevel: LlamaLogLevel.disabled, // llama.cpp's lines can hold pieces of prompts.
      maxThreads: threadsMax,
    });
    // Not memory-mapped: llama.cpp repacks most weights for the CPU, so the mapped ones would be there twice.
    const model = await llama.loadModel({ modelPath: options.modelFile, useMmap: false });
    const context = await model.createContext({
      sequences: options.sequencesMax,
      contextSize: options.contextTokensMax,
      batchSize: options.batchTokensMax,
      threads: threadsMax,
      flashAttention: true,
      experimentalKvCacheKeyType: kvTypes[options.kvCacheType],
      experimentalKvCacheValueType: kvTypes[options.kvCacheType],
      batching: { itemPrioritizationStrategy: inRankOrder },
      failedCreationRemedy: false,
    });
    return new OpenModel(llama, context, options);
  }

  stats(): EngineStats {
    const meters = this.#sequences.map(({ sequence }) => sequence.tokenMeter);
    return {
      evaluatedTokens: meters.reduce((sum, meter) => sum + meter.usedInputTokens + meter.usedOutputTokens, 0),
      sequencesFree: this.#free.length,
    };
  }

  /** The service admits no more calls than there are sequences; finding none is a bug. */
  takeSequence(): RankedSequence {
    const sequence = this.#free.shift();
    if (!sequence) throw new Error('no free sequence');
    return sequence;
  }

  async returnSequence(taken: RankedSequence): Promise<void> {
    await taken.sequence.clearHistory();
    this.#free.push(taken);
    this.#free.sort((a, b) => a.rank - b.rank);
  }

  /**
   * Tokens of the input as the model sees it. Control tokens written in a message's text stay plain text, so that no
   * content can end its own message; a raw prompt is the caller's whole and may use them.
   * @throws InputRefused for a chat that the model has no template for
   */
  tokenize(input: GenerationInput): Token[] {
    const tokens =
      input.kind === 'prompt' ? this.model.tokenize(input.text, true) : this.#chatTokens(input.messages);
    const { bos, shouldPrependBosToken } = this.model.tokens;
    return shouldPrependBosToken && bos !== null && tokens[0] !== bos ? [bos, ...tokens] : tokens;
  }

  #chatTokens(messages: readonly ChatTurn[]): Token[] {
    if (!this.#chat) throw new InputRefused('chat', 'this model has no chat template; give a prompt');
    const chatHistory = messages.map(({ role, content }): ChatHistoryItem => {
      switch (role) {
        case 'system':
          return { type: 'system', text: content };
        case 'user':
          return { type: 'user', text: content };
        case 'assistant':
          return { type: 'model', response: [content] };
      }
    });
    // The empty turn asks the template for its generation prompt; a last assistant turn is continued instead.
    if (messages.at(-1)?.role !== 'assistant') chatHistory.push({ type: 'model', response: [''] });
    try {
      return this.#chat.generateContextState({ chatHistory }).contextText.tokenize(this.model.tokenizer);
    } catch {
      throw new InputRefused('chat.messages', "the model's chat template does not take this order of roles");
    }
  }

  /** @throws InputRefused for a schema that cannot be enforced */
  async grammar(jsonSchema: string): Promise<LlamaGrammarEvaluationState | undefined> {
    if (jsonSchema === '') return undefined;
    const checked = checkJsonSchema(jsonSchema);
    if (!checked.ok) throw new InputRefused('json_schema', checked.problem);
    let compiled = this.#grammars.get(jsonSchema);
    if (!compiled) {
      compiled = compileGrammar(this.#llama, checked.schema);
      this.#grammars.set(jsonSchema, compiled);
      const [oldest] = this.#grammars.keys();
      if (this.#grammars.size > grammarsMax && oldest !== undefined) this.#grammars.delete(oldest);
    }
    try {
      return new LlamaGrammarEvaluationState({ model: this.model, grammar: await compiled });
    } catch {
      this.#grammars.delete(jsonSchema);
      throw new InputRefused('json_schema', 'cannot be made into a grammar');
    }
  }
}

/** What node-llama-cpp's grammar allows after the value: newlines without end, which a small model goes on writing. */
const trailingNewlines = '"\\n\\n\\n\\n" [\\n]*';

/** A grammar that takes exactly one JSON value, so that the model can only end its text after it. */
async function compileGrammar(llama: Llama, schema: GbnfJsonSchema): Promise<LlamaGrammar> {
  const { grammar } = await llama.createGrammarForJsonSchema(schema as { type: 'null' });
  const [root = '', ...rules] = grammar.split('\n');
  if (!root.endsWith(trailingNewlines)) throw new Error('the grammar ends in an unknown way');
  return await llama.createGrammar({
    grammar: [root.slice(0, -trailingNewlines.length), ...rules].join('\n'),
  });
}
