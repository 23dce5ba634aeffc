import { type FileHandle, mkdir, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChainPoint } from './chain-scan.ts';
import { NO_HASH, writeFrame } from './frame.ts';
import type { ChainEnd } from './recover-chain.ts';
import { firstSequenceOf, previousHashOf, segmentName } from './segments.ts';

/** Appends groups of entries to the newest segment of a folder. Knows no queue: one call of `write` at a time. */
export class SegmentWriter {
  readonly #folder: string;
  readonly #segmentBytesMax: number;
  /** Oldest first; the last one is written to. */
  readonly #segments: string[];
  #file: FileHandle | null = null;
  /** Bytes of the last segment that are on disk. */
  #bytes: number;
  #sequence: number;
  #hash: Buffer;
  /** A write failed in its middle: what it left has to be cut off before the next. */
  #dirty = false;

  constructor(folder: string, segmentBytesMax: number, end: ChainEnd) {
    this.#folder = folder;
    this.#segmentBytesMax = segmentBytesMax;
    this.#segments = [...end.segments];
    this.#bytes = end.bytes;
    this.#sequence = end.point?.sequence ?? 0;
    this.#hash = end.point?.hash ?? NO_HASH;
  }

  /** The last entry that is on disk; null before the first. */
  get point(): ChainPoint | null {
    return this.#sequence === 0 ? null : { sequence: this.#sequence, hash: this.#hash };
  }

  get segments(): readonly string[] {
    return this.#segments;
  }

  /**
   * Writes the entries and waits until they are on disk: all of them or, after an error, none.
   * @returns for each entry its number and its hash
   * @throws what the file system says, such as ENOSPC; the same group can be written again
   */
  async write(entries: readonly Uint8Array[]): Promise<readonly ChainPoint[]> {
    const frames: Buffer[] = [];
    const points: ChainPoint[] = [];
    let last: ChainPoint = { sequence: this.#sequence, hash: this.#hash };
    for (const entry of entries) {
      const sequence = last.sequence + 1;
      const place = { sequence, durableSequence: this.#sequence, previousHash: last.hash };
      const { frame, hash } = writeFrame(entry, place);
      frames.push(frame);
      last = { sequence, hash };
      points.push(last);
    }
    const group = Buffer.concat(frames);
    const file = await this.#fileFor(group.length);
    this.#dirty = true;
    await writeAll(file, group, this.#bytes);
    await file.datasync();
    this.#dirty = false;
    this.#bytes += group.length;
    this.#sequence = last.sequence;
    this.#hash = last.hash;
    return points;
  }

  /** Which entries would go with all but the newest segments; null when none would. */
  async removalDownTo(segmentsKeptMax: number): Promise<ChainPoint | null> {
    const firstKept = this.#segments.at(-segmentsKeptMax);
    if (firstKept === undefined || this.#segments.length <= segmentsKeptMax) return null;
    return {
      sequence: firstSequenceOf(firstKept) - 1,
      hash: await previousHashOf(this.#folder, firstKept),
    };
  }

  /** Removes the segments that hold nothing after a sequence number. */
  async removeThrough(sequence: number): Promise<void> {
    while (this.#segments.length > 1 && firstSequenceOf(this.#segments[1] as string) <= sequence + 1) {
      await unlink(join(this.#folder, this.#segments[0] as string));
      this.#segments.shift();
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await file?.close();
  }

  async #fileFor(groupBytes: number): Promise<FileHandle> {
    const current = this.#segments.at(-1);
    const isFull = this.#bytes > 0 && this.#bytes + groupBytes > this.#segmentBytesMax;
    if (current === undefined || (isFull && !this.#dirty)) return this.#begin();
    if (this.#file === null || this.#dirty) await this.#reopen(current);
    if (isFull) return this.#begin();
    return this.#file as FileHandle;
  }

  /** Makes what is in the file again what is known to be on disk. */
  async #reopen(name: string): Promise<void> {
    await this.close();
    this.#file = await open(join(this.#folder, name), 'r+');
    await this.#file.truncate(this.#bytes);
    this.#dirty = false;
  }

  async #begin(): Promise<FileHandle> {
    await this.close();
    await mkdir(this.#folder, { recursive: true, mode: FOLDER_MODE });
    const name = segmentName(this.#sequence + 1);
    const file = await open(join(this.#folder, name), 'w', FILE_MODE);
    this.#file = file;
    this.#segments.push(name);
    this.#bytes = 0;
    await syncFolder(this.#folder);
    return file;
  }
}

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;

async function writeAll(file: FileHandle, data: Buffer, at: number): Promise<void> {
  let done = 0;
  while (done < data.length) {
    const { bytesWritten } = await file.write(data, done, data.length - done, at + done);
    if (bytesWritten === 0) throw new Error('the file takes no more bytes');
    done += bytesWritten;
  }
}

/** A new file is there after a crash only when its folder is on disk, too. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
