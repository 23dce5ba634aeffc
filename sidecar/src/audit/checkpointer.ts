import { createPublicKey, type KeyObject } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChainPoint } from './chain-scan.ts';
import { type Checkpoint, readCheckpoint, signCheckpoint } from './checkpoint.ts';

/** The last checkpoint stands beside the segments; what is exported elsewhere is the same text. */
const CHECKPOINT_FILE = 'checkpoint.jws';

export type CheckpointerOptions = {
  readonly folder: string;
  readonly key: KeyObject;
  readonly workload: string;
  /** A checkpoint is due after so many entries, or so long after the last one, whichever comes first. */
  readonly everyEntries: number;
  readonly everyMs: number;
  readonly clock: () => number;
  /** Takes each checkpoint out of the machine: whoever can change the segments can change the file beside them. */
  readonly onCheckpoint: (checkpoint: Checkpoint, jws: string) => void;
  readonly onFailure: (error: Error) => void;
};

/** Signs the end of a chain from time to time. */
export class Checkpointer {
  readonly #options: CheckpointerOptions;
  readonly #timer: NodeJS.Timeout;
  #signedSequence: number;
  #signedAtMs: number | null = null;
  #newest: ChainPoint | null = null;
  #signing: Promise<void> | undefined;

  /** @param last what was signed before the start */
  constructor(options: CheckpointerOptions, last: ChainPoint | null) {
    this.#options = options;
    this.#signedSequence = last?.sequence ?? 0;
    this.#timer = setInterval(() => this.#signNewest(), options.everyMs).unref();
  }

  /** When the last one was signed; null before the first of this process. */
  get lastAtMs(): number | null {
    return this.#signedAtMs;
  }

  /** The chain has grown to this point, which is on disk. */
  reached(point: ChainPoint): void {
    this.#newest = point;
    if (point.sequence - this.#signedSequence >= this.#options.everyEntries) this.#signNewest();
  }

  /** Signs the end of the chain. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#signing;
    this.#signNewest();
    await this.#signing;
  }

  #signNewest(): void {
    const point = this.#newest;
    if (point === null || point.sequence <= this.#signedSequence) return;
    this.#signing ??= this.#sign(point)
      .catch((error: unknown) => this.#options.onFailure(error as Error))
      .finally(() => {
        this.#signing = undefined;
      });
  }

  async #sign(point: ChainPoint): Promise<void> {
    const { folder, key, workload, clock, onCheckpoint } = this.#options;
    const checkpoint = { ...point, workload, timeMs: clock() };
    const jws = await signCheckpoint(checkpoint, key);
    onCheckpoint(checkpoint, jws);
    this.#signedSequence = checkpoint.sequence;
    this.#signedAtMs = checkpoint.timeMs;
    const file = join(folder, CHECKPOINT_FILE);
    await writeFile(`${file}.new`, `${jws}\n`, { mode: 0o600, flush: true });
    await rename(`${file}.new`, file);
  }
}

/**
 * The checkpoint beside the segments. One that this key has not signed is taken as none: keys change.
 */
export async function lastCheckpoint(folder: string, key: KeyObject): Promise<Checkpoint | null> {
  const text = await readFile(join(folder, CHECKPOINT_FILE), 'utf8').catch(() => null);
  if (text === null) return null;
  const read = await readCheckpoint(text, createPublicKey(key));
  return typeof read === 'string' ? null : read;
}
