import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NO_HASH } from './frame.ts';

const NAME = /^segment-(\d{16})\.gha$/;
const DIGITS = 16;
/** Bytes before an entry: what `previousHashOf` reads. */
const HEAD_BYTES = 56;
const PREVIOUS_AT = 24;

/** `segment-0000000000000001.gha`: named after its first sequence number, so that names sort as entries do. */
export function segmentName(firstSequence: number): string {
  return `segment-${String(firstSequence).padStart(DIGITS, '0')}.gha`;
}

export function firstSequenceOf(name: string): number {
  return Number(NAME.exec(name)?.[1] ?? 0);
}

/** The segments of a folder, oldest first. */
export async function listSegments(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  return names.filter((name) => NAME.test(name)).toSorted();
}

export function readSegment(folder: string, name: string): Promise<Buffer> {
  return readFile(join(folder, name));
}

/** What the first entry of a segment carries as the hash of the one before it. */
export async function previousHashOf(folder: string, name: string): Promise<Buffer> {
  const file = await open(join(folder, name));
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    const { bytesRead } = await file.read(head, 0, HEAD_BYTES, 0);
    return bytesRead < HEAD_BYTES ? NO_HASH : head.subarray(PREVIOUS_AT);
  } finally {
    await file.close();
  }
}
