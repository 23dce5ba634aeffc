import { Worker } from 'node:worker_threads';

/** The worker's heap is the vocabulary, which stays, and little else: a large nursery would only be touched. */
const maxYoungGenerationSizeMb = 4;

export interface ComputeOptions {
  readonly modelFile: string;
  readonly tokenizerFile: string;
  readonly threads: number;
  /** Tokens of the largest batch, padding included. */
  readonly batchTokensMax: number;
}

/** What the worker is asked. It does one job after another, in their order. */
export type Job = Work | { readonly kind: 'close' };
export type Work =
  | { readonly kind: 'tokenize'; readonly texts: readonly string[] }
  | { readonly kind: 'embed'; readonly batch: readonly Int32Array[] };

/** What it says: once that it is ready or failed to load, then an answer for every job. */
export type Report =
  | { readonly kind: 'ready'; readonly dimensions: number }
  | { readonly kind: 'unloadable'; readonly reason: string }
  | { readonly kind: 'tokens'; readonly tokens: readonly Int32Array[] }
  | { readonly kind: 'vectors'; readonly vectors: Float32Array }
  | { readonly kind: 'failed'; readonly error: unknown };

/** A loaded model. Its tokenizer and its session block the thread they run on, so that is a worker's. */
export interface Compute {
  readonly dimensions: number;
  /** Token ids of each text, the special tokens at both ends included, not truncated. */
  tokenize(texts: readonly string[]): Promise<readonly Int32Array[]>;
  /** The mean of each text's token vectors, one after another, not normalised; every text within batchTokensMax. */
  embed(batch: readonly Int32Array[]): Promise<Float32Array>;
  /** Resolves when the worker has ended, with the error when it was not asked to. */
  readonly ended: Promise<Error | undefined>;
  /** Ends the worker after the job that runs. */
  close(): Promise<void>;
}

/** The model or its tokenizer could not be loaded; the message says why. */
export class ModelUnloadable extends Error {
  override readonly name = 'ModelUnloadable';
}

/**
 * Loads a model in a worker of its own.
 * @throws ModelUnloadable
 */
export async function startCompute(options: ComputeOptions): Promise<Compute> {
  const worker = new Worker(new URL('./compute-worker.ts', import.meta.url), {
    workerData: options,
    resourceLimits: { maxYoungGenerationSizeMb },
  });
  const jobs = new WorkerJobs(worker);
  const first = await jobs
    .next()
    .catch((error: Error) => ({ kind: 'unloadable', reason: error.message }) as const);
  if (first.kind === 'ready') return new WorkerCompute(jobs, first.dimensions);
  await worker.terminate();
  throw new ModelUnloadable(
    first.kind === 'unloadable' ? first.reason : `the worker began with ${first.kind}`,
  );
}

class WorkerCompute implements Compute {
  readonly dimensions: number;
  readonly ended: Promise<Error | undefined>;
  readonly #jobs: WorkerJobs;

  constructor(jobs: WorkerJobs, dimensions: number) {
    this.dimensions = dimensions;
    this.ended = jobs.ended;
    this.#jobs = jobs;
  }

  async tokenize(texts: readonly string[]): Promise<readonly Int32Array[]> {
    const report = await this.#jobs.ask({ kind: 'tokenize', texts });
    return report.kind === 'tokens' ? report.tokens : unexpected(report);
  }

  async embed(batch: readonly Int32Array[]): Promise<Float32Array> {
    const report = await this.#jobs.ask({ kind: 'embed', batch });
    return report.kind === 'vectors' ? report.vectors : unexpected(report);
  }

  close(): Promise<void> {
    return this.#jobs.close();
  }
}

/** Matches reports to jobs by their order. */
class WorkerJobs {
  readonly ended: Promise<Error | undefined>;
  readonly #worker: Worker;
  readonly #waiting: { resolve: (report: Report) => void; reject: (error: Error) => void }[] = [];
  #closing = false;
  #failure: Error | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (report: Report) => this.#waiting.shift()?.resolve(report));
    worker.on('error', (error: unknown) => {
      this.#failure = error instanceof Error ? error : new Error(String(error));
    });
    this.ended = new Promise((resolve) => {
      worker.on('exit', () => {
        this.#failure ??= new Error('the worker that computes has ended');
        for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
        resolve(this.#closing ? undefined : this.#failure);
      });
    });
  }

  async ask(job: Work): Promise<Report> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closing) throw new Error('the model is closed');
    const report = this.next();
    this.#worker.postMessage(job);
    return report;
  }

  next(): Promise<Report> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Lets the job that runs finish: ending a worker in the middle of native code aborts the whole process. */
  async close(): Promise<void> {
    if (!this.#closing && this.#failure === undefined)
      this.#worker.postMessage({ kind: 'close' } satisfies Job);
    this.#closing = true;
    await this.ended;
  }
}

function unexpected(report: Report): never {
  throw report.kind === 'failed' ? report.error : new Error(`the worker answered ${report.kind}`);
}
