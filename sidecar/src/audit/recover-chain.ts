import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { type ChainPoint, type ChainProblem, ChainScan } from './chain-scan.ts';
import { listSegments, readSegment } from './segments.ts';
import { formatChainProblem } from './verify-chain.ts';

/** Where the next entry goes. */
export type ChainEnd = {
  /** Oldest first. */
  readonly segments: readonly string[];
  /** Bytes of the last segment; 0 when there is none. */
  readonly bytes: number;
  /** Null: nothing has been written yet. */
  readonly point: ChainPoint | null;
  /** Bytes of an unfinished write that were cut off. */
  readonly tornBytes: number;
};

/**
 * Segments that are read whole at the start, newest first; what is older was read by the starts before. `gatehouse audit
 * verify` reads all.
 */
const SEGMENTS_READ_MAX = 8;

/**
 * Reads the newest segments of a folder and cuts off what a killed process left unfinished: entries at the very end that
 * no later entry, and no checkpoint, says were on disk. Damage anywhere else is a problem, for nothing that was on disk
 * may go.
 *
 * @param signed the last checkpoint that this sidecar signed
 */
export async function recoverChain(
  folder: string,
  signed: ChainPoint | null,
): Promise<ChainEnd | { readonly problem: string }> {
  const segments = await listSegments(folder);
  const newest = segments.slice(-SEGMENTS_READ_MAX);
  const scan = new ChainScan({
    signed: signed === null ? [] : [signed],
    fromMiddle: newest.length < segments.length,
  });
  let bytes = 0;
  for (const name of newest) {
    const data = await readSegment(folder, name);
    bytes = data.length;
    scan.segment(name, data);
  }
  const torn = scan.finish();
  const { intact } = scan;
  const damage = lastingDamage(scan, torn, segments.at(-1) ?? '');
  if (damage !== null) {
    const more = scan.problems.length > 1 ? `, and ${scan.problems.length - 1} more` : '';
    const expected = 'expected a whole entry that follows the one before it';
    return { problem: `${join(folder, damage.segment)}: ${formatChainProblem(damage)}${more}; ${expected}` };
  }
  const tornBytes = Math.max(0, bytes - intact.offset);
  if (tornBytes > 0) await truncate(join(folder, intact.segment), intact.offset);
  return { segments, bytes: intact.offset, point: intact.point, tornBytes };
}

/** @returns a problem that an unfinished write does not explain; null when there is none */
function lastingDamage(
  { problems, intact, durableSequence }: ChainScan,
  torn: ReturnType<ChainScan['finish']>,
  lastSegment: string,
): ChainProblem | null {
  const sequence = (intact.point?.sequence ?? 0) + 1;
  const first: ChainProblem | null =
    problems[0] ?? (torn && { ...torn, kind: 'unreadable', sequence, throughSequence: sequence });
  if (first === null) return null;
  const isAtEnd = first.segment === lastSegment && first.offset === intact.offset;
  const isUnfinished = problems.every(({ kind }) => kind === 'changed' || kind === 'unreadable');
  return isAtEnd && isUnfinished && durableSequence < sequence ? null : first;
}
