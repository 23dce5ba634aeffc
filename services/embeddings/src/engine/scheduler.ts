import { setImmediate as nextTurn } from 'node:timers/promises';
import { chooseBatch } from './choose-batch.ts';
import type { Compute } from './compute.ts';
import { FairQueue } from './fair-queue.ts';

/** Characters that are tokenised between two batches: about 10 ms, so that no text holds up the others' vectors. */
const sliceCharsMax = 16_384;
/** Texts that are looked at to fill a batch. */
const lookAheadMax = 512;
/** How much the newest batch weighs in the estimate of the speed, 0 to 1. */
const newestWeight = 0.2;
/** A token stands for about this many characters; only the estimate of a wait depends on it. */
const charsPerToken = 4;

interface Task<In, Out> {
  readonly input: In;
  readonly resolve: (output: Out) => void;
  readonly reject: (error: unknown) => void;
}

type Tokenizing = Task<string, Int32Array>;
type Embedding = Task<Int32Array, Float32Array>;

export interface SchedulerLimits {
  /** Tokens of one batch, padding included. */
  readonly batchTokensMax: number;
  /** How long an idle engine waits for company before it runs a batch that is not full. */
  readonly batchWaitMsMax: number;
}

/**
 * Decides what the worker does next, for all callers: a slice of tokenising, then a batch, in turns. What a caller
 * no longer wants is dropped before it runs; a batch that runs is finished.
 */
export class Scheduler {
  readonly #compute: Compute;
  readonly #limits: SchedulerLimits;
  readonly #now: () => number;
  readonly #texts = new FairQueue<Tokenizing>(({ input }) => input.length);
  readonly #tokens = new FairQueue<Embedding>(({ input }) => input.length);
  #running = false;
  #wake: (() => void) | undefined;
  /** When the batch that is being gathered runs even if it is not full. */
  #dueMs = 0;
  #msPerToken = 0;

  /** @param now milliseconds of a steady clock */
  constructor(compute: Compute, limits: SchedulerLimits, now: () => number) {
    this.#compute = compute;
    this.#limits = limits;
    this.#now = now;
  }

  /** Texts that wait to be tokenised or for a batch. */
  get waiting(): number {
    return this.#texts.length + this.#tokens.length;
  }

  /** Token ids of each text. Rejects with the signal's reason when it aborts. */
  tokenize(texts: readonly string[], signal: AbortSignal): Promise<Int32Array[]> {
    return this.#queue(this.#texts, texts, signal);
  }

  /** The mean vector of each text's tokens. Rejects with the signal's reason when it aborts. */
  embed(tokens: readonly Int32Array[], signal: AbortSignal): Promise<Float32Array[]> {
    if (this.#tokens.length === 0) this.#dueMs = this.#now() + this.#limits.batchWaitMsMax;
    return this.#queue(this.#tokens, tokens, signal);
  }

  /** How long what waits now will take, by the speed seen so far. */
  waitMsEstimate(): number {
    return (this.#tokens.cost + this.#texts.cost / charsPerToken) * this.#msPerToken;
  }

  async #queue<In, Out>(
    queue: FairQueue<Task<In, Out>>,
    inputs: readonly In[],
    signal: AbortSignal,
  ): Promise<Out[]> {
    signal.throwIfAborted();
    const tasks: Task<In, Out>[] = [];
    const outputs = inputs.map(
      (input) => new Promise<Out>((resolve, reject) => tasks.push({ input, resolve, reject })),
    );
    const onAbort = () => tasks[0]?.reject(signal.reason);
    signal.addEventListener('abort', onAbort);
    try {
      queue.add(tasks);
      this.#start();
      return await Promise.all(outputs);
    } finally {
      signal.removeEventListener('abort', onAbort);
      queue.drop(new Set(tasks)); // Nothing is left of them unless the call was cancelled or a batch failed.
    }
  }

  #start(): void {
    this.#wake?.();
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#texts.length + this.#tokens.length > 0) {
      if (this.#texts.length > 0) await this.#tokenizeSlice();
      const dueInMs = this.#dueMs - this.#now();
      const full = this.#tokens.cost >= this.#limits.batchTokensMax;
      if (this.#tokens.length > 0 && (full || dueInMs <= 0)) await this.#embedBatch();
      else if (this.#texts.length === 0 && this.#tokens.length > 0) await this.#pause(dueInMs);
    }
    this.#running = false;
  }

  async #tokenizeSlice(): Promise<void> {
    let chars = 0;
    const waiting = this.#texts.next(lookAheadMax);
    const slice = waiting.filter(({ input }, at) => {
      chars += input.length;
      return at === 0 || chars <= sliceCharsMax;
    });
    this.#texts.serve(new Set(slice));
    await settle(slice, () => this.#compute.tokenize(slice.map(({ input }) => input)));
    await nextTurn(); // The callers come back with their tokens before the next batch is chosen.
  }

  async #embedBatch(): Promise<void> {
    const waiting = this.#tokens.next(lookAheadMax);
    const chosen = chooseBatch(waiting, ({ input }) => input.length, this.#limits.batchTokensMax);
    this.#tokens.serve(chosen);
    const batch = [...chosen];
    const begunMs = this.#now();
    await settle(batch, async () => {
      const vectors = await this.#compute.embed(batch.map(({ input }) => input));
      const { dimensions } = this.#compute;
      return batch.map((_, at) => vectors.slice(at * dimensions, (at + 1) * dimensions));
    });
    const tokens = batch.reduce((sum, { input }) => sum + input.length, 0);
    const msPerToken = (this.#now() - begunMs) / tokens;
    this.#msPerToken += newestWeight * (msPerToken - this.#msPerToken);
  }

  /** Waits for the time to pass or for more to do. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Gives every task its output, or all of them the error. */
async function settle<In, Out>(
  tasks: readonly Task<In, Out>[],
  compute: () => Promise<readonly Out[]>,
): Promise<void> {
  try {
    const outputs = await compute();
    for (const [at, { resolve }] of tasks.entries()) resolve(outputs[at]!);
  } catch (error) {
    for (const { reject } of tasks) reject(error);
  }
}
