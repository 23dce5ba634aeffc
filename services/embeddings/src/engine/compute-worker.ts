import { readFile } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { Tokenizer } from '@huggingface/tokenizers';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { ComputeOptions, Job, Report, Work } from './compute.ts';

/** What is used of the tokenizer; its own declarations do not resolve under nodenext. */
interface WordPieces {
  encode(text: string): { readonly ids: readonly number[] };
}
const WordPieces = Tokenizer as unknown as new (tokenizer: object, config: object) => WordPieces;

/** Model inputs, each [texts, tokens] of int64. */
const inputNames = ['input_ids', 'attention_mask', 'token_type_ids'];
/** Model output, [texts, tokens, dimensions] of float32. */
const outputName = 'last_hidden_state';

class Model {
  readonly dimensions: number;
  readonly #tokenizer: WordPieces;
  readonly #session: InferenceSession;
  /** Made once for the largest batch: buffers made per batch are collected late and pile up outside the heap. */
  readonly #ids: BigInt64Array;
  readonly #mask: BigInt64Array;
  readonly #types: BigInt64Array;
  readonly #hidden: Float32Array;

  constructor(tokenizer: WordPieces, session: InferenceSession, batchTokensMax: number) {
    this.dimensions = dimensionsOf(session);
    this.#tokenizer = tokenizer;
    this.#session = session;
    this.#ids = new BigInt64Array(batchTokensMax);
    this.#mask = new BigInt64Array(batchTokensMax);
    this.#types = new BigInt64Array(batchTokensMax);
    this.#hidden = new Float32Array(batchTokensMax * this.dimensions);
  }

  tokenize(texts: readonly string[]): Int32Array[] {
    return texts.map((text) => Int32Array.from(this.#tokenizer.encode(text).ids));
  }

  /** The vectors of a batch, [texts, dimensions]. */
  async embed(batch: readonly Int32Array[]): Promise<Float32Array> {
    const width = Math.max(...batch.map(({ length }) => length));
    const shape = [batch.length, width];
    const size = batch.length * width;
    this.#ids.fill(0n, 0, size);
    this.#mask.fill(0n, 0, size);
    for (const [row, ids] of batch.entries()) {
      for (const [column, id] of ids.entries()) this.#ids[row * width + column] = BigInt(id);
      this.#mask.fill(1n, row * width, row * width + ids.length);
    }
    const hidden = this.#hidden.subarray(0, size * this.dimensions);
    await this.#session.run(
      {
        input_ids: new Tensor('int64', this.#ids.subarray(0, size), shape),
        attention_mask: new Tensor('int64', this.#mask.subarray(0, size), shape),
        token_type_ids: new Tensor('int64', this.#types.subarray(0, size), shape),
      },
      { [outputName]: new Tensor('float32', hidden, [...shape, this.dimensions]) },
    );
    return this.#meanPool(
      batch.map(({ length }) => length),
      width,
    );
  }

  /** The mean over each text's own tokens; padding has no part in it. */
  #meanPool(lengths: readonly number[], width: number): Float32Array {
    const { dimensions } = this;
    const vectors = new Float32Array(lengths.length * dimensions);
    for (const [row, length] of lengths.entries()) {
      const vector = vectors.subarray(row * dimensions, (row + 1) * dimensions);
      for (let column = 0; column < length; column += 1) {
        const from = (row * width + column) * dimensions;
        for (let at = 0; at < dimensions; at += 1) vector[at]! += this.#hidden[from + at]!;
      }
      for (let at = 0; at < dimensions; at += 1) vector[at]! /= length;
    }
    return vectors;
  }
}

async function load({ modelFile, tokenizerFile, threads, batchTokensMax }: ComputeOptions): Promise<Model> {
  const tokenizer = await named(tokenizerFile, async () => {
    const loaded = new WordPieces(JSON.parse(await readFile(tokenizerFile, 'utf8')) as object, {});
    const special = loaded.encode('').ids.length;
    if (special === 2) return loaded;
    throw new Error(`it adds ${special} special tokens to a text, expected one at each end`);
  });
  const session = await named(modelFile, () =>
    InferenceSession.create(modelFile, {
      intraOpNumThreads: threads,
      // Batches differ in shape all the time: the arena and the pattern kept per shape only grow.
      enableCpuMemArena: false,
      enableMemPattern: false,
      extra: {
        session: {
          use_device_allocator_for_initializers: '1',
          // Threads that spin between batches would take the processor from the processes beside this one.
          intra_op: { allow_spinning: '0' },
        },
      },
    }),
  );
  const model = await named(modelFile, async () => new Model(tokenizer, session, batchTokensMax));
  await named(modelFile, () => model.embed(model.tokenize(['warm up'])));
  return model;
}

function dimensionsOf(session: InferenceSession): number {
  const missing = inputNames.filter((name) => !session.inputNames.includes(name));
  if (missing.length > 0) throw new Error(`it has no input ${missing.join(', ')}`);
  const output = session.outputMetadata.find(({ name }) => name === outputName);
  const dimensions = output?.isTensor ? output.shape.at(-1) : undefined;
  if (typeof dimensions !== 'number') throw new Error(`it has no output ${outputName} of a fixed width`);
  return dimensions;
}

async function named<T>(file: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    throw new Error(`${file} cannot be used: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function answer(model: Model, job: Work): Promise<Report> {
  try {
    if (job.kind === 'tokenize') return { kind: 'tokens', tokens: model.tokenize(job.texts) };
    return { kind: 'vectors', vectors: await model.embed(job.batch) };
  } catch (error) {
    return { kind: 'failed', error };
  }
}

const port = parentPort;
if (port === null) throw new Error('this is a worker');
const say = (report: Report) => port.postMessage(report);
try {
  const model = await load(workerData as ComputeOptions);
  let last: Promise<void> = Promise.resolve();
  port.on('message', (job: Job) => {
    last = last.then(async () => {
      if (job.kind === 'close') port.close();
      else say(await answer(model, job));
    });
  });
  say({ kind: 'ready', dimensions: model.dimensions });
} catch (error) {
  say({ kind: 'unloadable', reason: error instanceof Error ? error.message : String(error) });
}
