import { access, constants, open } from 'node:fs/promises';
import { invalidArgument, RpcError } from '@gatehouse/service-kit';
import { StartFailure } from '@gatehouse/service-kit/main';
import type { LlamaConfig } from '../../config.ts';
import { AdmissionQueue } from '../admission-queue.ts';
import type { Engine, GenerationEvent, GenerationInput, GenerationRequest, ModelInfo } from '../engine.ts';
import { type Answer, EngineProcess, type Unsent } from './engine-process.ts';
import type { EngineStats, InputRefusal, Outcome, ToEngine } from './protocol.ts';

export interface LlamaEngineDeps {
  /** Milliseconds, monotonic or since the epoch. */
  readonly now: () => number;
  /** Told when the engine process ends and comes back; `cause` holds no content. */
  readonly onReadiness: (ready: boolean, cause: string) => void;
}

/** Generates with llama.cpp in a process of its own. Calls beyond its sequences wait in a bounded queue. */
export class LlamaEngine implements Engine {
  readonly info: ModelInfo;
  readonly #process: EngineProcess;
  readonly #queue: AdmissionQueue;
  readonly #listeners: Set<(ready: boolean) => void>;

  private constructor(
    config: LlamaConfig,
    process: EngineProcess,
    queue: AdmissionQueue,
    listeners: Set<(ready: boolean) => void>,
  ) {
    const { name, contextTokensMax, outputTokensDefault } = config;
    this.info = {
      name,
      engine: 'llama.cpp',
      contextTokensMax,
      outputTokensDefault,
      supportsJsonSchema: true,
    };
    this.#process = process;
    this.#queue = queue;
    this.#listeners = listeners;
  }

  /** @throws StartFailure for a model file that is missing, no GGUF, or cannot be loaded */
  static async open(config: LlamaConfig, deps: LlamaEngineDeps): Promise<LlamaEngine> {
    await checkModelFile(config);
    const listeners = new Set<(ready: boolean) => void>();
    const process = await EngineProcess.start(
      config.name,
      {
        modelFile: config.modelFile,
        contextTokensMax: config.contextTokensMax,
        sequencesMax: config.sequencesMax,
        batchTokensMax: config.batchTokensMax,
        threadsMax: config.threadsMax,
        kvCacheType: config.kvCacheType,
      },
      {
        onReadiness: (ready, cause) => {
          deps.onReadiness(ready, cause);
          for (const listener of listeners) listener(ready);
        },
      },
    );
    const limits = { runningMax: config.sequencesMax, queueDepthMax: config.queueDepthMax };
    return new LlamaEngine(config, process, new AdmissionQueue(config.name, limits, deps.now), listeners);
  }

  /** The engine process's id, and what it has evaluated and has free: for tests and the bench. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  async stats(): Promise<EngineStats> {
    const answer = await this.#ask({ kind: 'stats' });
    if (answer.kind !== 'stats') throw new Error(`the engine answered ${answer.kind}`);
    return answer.stats;
  }

  get load(): { waiting: number; running: number } {
    return { waiting: this.#queue.waiting, running: this.#queue.running };
  }

  onReadiness(listener: (ready: boolean) => void): void {
    this.#listeners.add(listener);
  }

  async *generate(
    request: GenerationRequest,
    signal: AbortSignal,
  ): AsyncGenerator<GenerationEvent, void, undefined> {
    const leave = await this.#queue.enter(request.priority, signal);
    try {
      yield* this.#run(request, signal);
    } finally {
      leave();
    }
  }

  async countTokens(input: GenerationInput, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    const answer = await this.#ask({ kind: 'count', input });
    if (answer.kind === 'refused') throw refused(answer.refusal);
    if (answer.kind !== 'counted') throw new Error(`the engine answered ${answer.kind}`);
    return answer.tokens;
  }

  close(): Promise<void> {
    return this.#process.close();
  }

  /** Leaves only when the engine process has let go of the sequence, so that the next call surely finds one. */
  async *#run(
    request: GenerationRequest,
    signal: AbortSignal,
  ): AsyncGenerator<GenerationEvent, void, undefined> {
    const ended = Promise.withResolvers<void>();
    let id = -1;
    // Unread answers are bounded by the context: each is at least one token.
    const answers = new ReadableStream<Answer | RpcError>({
      start: (controller) => {
        id = this.#process.request({ kind: 'generate', request }, (answer) => {
          controller.enqueue(answer);
          if (answer instanceof RpcError || answer.kind === 'ended') ended.resolve();
        });
      },
    });
    const cancel = () => this.#process.cancel(id);
    signal.addEventListener('abort', cancel);
    try {
      for await (const answer of answers.values({ preventCancel: true })) {
        if (answer instanceof RpcError) throw answer;
        if (answer.kind === 'ended') {
          yield completed(answer.outcome, signal);
          return;
        }
        if (!signal.aborted && (answer.kind === 'started' || answer.kind === 'delta'))
          yield withoutId(answer);
      }
    } finally {
      signal.removeEventListener('abort', cancel);
      cancel();
      await ended.promise;
      this.#process.forget(id);
    }
  }

  #ask(request: Unsent<Extract<ToEngine, { kind: 'count' | 'stats' }>>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const id = this.#process.request(request, (answer) => {
        this.#process.forget(id);
        if (answer instanceof RpcError) reject(answer);
        else resolve(answer);
      });
    });
  }
}

function withoutId(answer: Extract<Answer, { kind: 'started' | 'delta' }>): GenerationEvent {
  return answer.kind === 'started'
    ? { kind: 'started', inputTokens: answer.inputTokens }
    : { kind: 'delta', text: answer.text, outputTokens: answer.outputTokens };
}

function completed(outcome: Outcome, signal: AbortSignal): GenerationEvent {
  switch (outcome.kind) {
    case 'completed':
      return outcome;
    case 'cancelled':
      signal.throwIfAborted();
      throw new Error('the engine cancelled a call that nobody cancelled');
    case 'refused':
      throw refused(outcome.refusal);
    case 'failed':
      throw Object.assign(new Error('the engine failed'), { stack: outcome.cause });
  }
}

function refused({ field, description }: InputRefusal): RpcError {
  return invalidArgument([{ field, description }]);
}

/** A GGUF file begins with these four bytes. */
const ggufMagic = 'GGUF';

/** llama.cpp's own words for a wrong file are about tensors; these are about the file. */
async function checkModelFile({ name, modelFile }: LlamaConfig): Promise<void> {
  const failure = (why: string) => new StartFailure(`cannot open model ${name} from ${modelFile}: ${why}`);
  try {
    await access(modelFile, constants.R_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw failure(code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`);
  }
  const file = await open(modelFile);
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(ggufMagic.length), 0, ggufMagic.length, 0);
    if (buffer.toString('latin1', 0, bytesRead) !== ggufMagic) throw failure('it is not a GGUF file');
  } finally {
    await file.close();
  }
}
