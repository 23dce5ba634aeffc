import { type ChainProblem, ChainScan, type ChainScanOptions } from './chain-scan.ts';
import { listSegments, readSegment } from './segments.ts';

export type ChainReport = {
  readonly segments: number;
  readonly entries: number;
  /** 0: there is no entry. */
  readonly lastSequence: number;
  readonly problems: readonly ChainProblem[];
  /** Further problems, of which there were too many to tell them one by one. */
  readonly problemsLeftOut: number;
  /** An unfinished entry at the end, as a process leaves it that is killed while it writes. */
  readonly torn: ReturnType<ChainScan['finish']>;
};

/** Reads every segment of a folder, one at a time, and says what is wrong with the chain. Writes nothing. */
export async function verifyChain(folder: string, options: ChainScanOptions = {}): Promise<ChainReport> {
  const scan = new ChainScan(options);
  const names = await listSegments(folder);
  for (const name of names) scan.segment(name, await readSegment(folder, name));
  const torn = scan.finish();
  return {
    segments: names.length,
    entries: scan.entries,
    lastSequence: scan.lastSequence,
    problems: scan.problems,
    problemsLeftOut: scan.problemsLeftOut,
    torn,
  };
}

/** One sentence: what, which entries, where. */
export function formatChainProblem(problem: ChainProblem): string {
  const { kind, sequence, throughSequence, segment, offset } = problem;
  const which =
    sequence === throughSequence ? `entry ${sequence}` : `entries ${sequence} to ${throughSequence}`;
  const place = segment === '' ? 'the folder has no segment' : `${segment}, offset ${offset}`;
  return `${which} ${VERBS[kind]} (${place})`;
}

const VERBS: Readonly<Record<ChainProblem['kind'], string>> = {
  changed: 'changed',
  unreadable: 'unreadable',
  missing: 'missing',
  'out-of-order': 'out of order',
  repeated: 'repeated',
  foreign: 'preceded by foreign bytes',
  misnamed: 'in a segment of another name',
  'not-as-signed': 'not the one that was signed',
};
