import { decodeEntry } from './decode-entry.ts';
import { type Frame, findFrame, NO_HASH, readFrame } from './frame.ts';
import { firstSequenceOf } from './segments.ts';

/** A sequence number and the hash of its entry: what a checkpoint signs. */
export type ChainPoint = { readonly sequence: number; readonly hash: Buffer };

export type ChainPlace = { readonly segment: string; readonly offset: number };

/**
 * What is wrong with a chain, and where.
 * - `changed`: the entry is not the one that was written
 * - `unreadable`: there is no entry where one has to be
 * - `missing`: entries are gone
 * - `out-of-order`: an entry stands in the wrong place
 * - `repeated`: an entry is there more than once
 * - `foreign`: bytes between two entries
 * - `misnamed`: the segment's name is not its first sequence number
 * - `not-as-signed`: a checkpoint signed another entry of this number
 */
export type ChainProblem = ChainPlace & {
  readonly kind:
    | 'changed'
    | 'unreadable'
    | 'missing'
    | 'out-of-order'
    | 'repeated'
    | 'foreign'
    | 'misnamed'
    | 'not-as-signed';
  /** First and last sequence number concerned. */
  readonly sequence: number;
  readonly throughSequence: number;
};

/** Where the chain was still whole. */
export type Intact = ChainPlace & { readonly point: ChainPoint | null };

/** Bytes that can't be read: which entries they were is known when the next one is found. */
type Stretch = ChainPlace & { readonly kind: 'changed' | 'unreadable' | 'torn'; readonly bytes: number };

type Gap = ChainPlace & { from: number; readonly to: number };

export type ChainScanOptions = {
  readonly signed?: readonly ChainPoint[];
  /** The scan begins in the middle of a chain, so what came before it is not asked for. */
  readonly fromMiddle?: boolean;
  readonly onEntry?: (entry: Buffer, frame: Frame & ChainPlace) => void;
};

/** Problems that are told one by one; further ones are counted. */
const PROBLEMS_MAX = 1000;

/** Reads a chain segment by segment, oldest first, and collects what is wrong with it. */
export class ChainScan {
  readonly problems: ChainProblem[] = [];
  problemsLeftOut = 0;
  entries = 0;
  /** The largest number that any entry says was on disk before it. */
  durableSequence = 0;
  /** Until where the chain is whole; stands still at the first problem. */
  intact: Intact = { segment: '', offset: 0, point: null };
  readonly #options: ChainScanOptions;
  readonly #signed: Map<number, ChainPoint>;
  readonly #gaps: Gap[] = [];
  /** The entry with the largest number so far. */
  #previous: (ChainPlace & ChainPoint) | null = null;
  #first: (ChainPlace & { readonly sequence: number; readonly previousHash: Buffer }) | null = null;
  /** The number that the next entry has to have; null before the first. */
  #expected: number | null = null;
  /** Null: unknown, because the entry before can't be trusted. */
  #expectedHash: Buffer | null = null;
  #stretch: Stretch | null = null;
  #removed: ChainPoint | null = null;
  #sound = true;

  constructor(options: ChainScanOptions = {}) {
    this.#options = options;
    this.#signed = new Map((options.signed ?? []).map((point) => [point.sequence, point]));
  }

  /** 0: no entry could be read. */
  get lastSequence(): number {
    return this.#previous?.sequence ?? 0;
  }

  segment(name: string, data: Buffer): void {
    if (this.#sound && this.#stretch === null) this.intact = { ...this.intact, segment: name, offset: 0 };
    let offset = 0;
    while (offset < data.length) {
      const frame = readFrame(data, offset);
      if (typeof frame === 'string') {
        const next = findFrame(data, offset + 1);
        const end = next < 0 ? data.length : next;
        this.#stretch ??= { segment: name, offset, kind: STRETCH_KINDS[frame], bytes: end - offset };
        offset = end;
      } else {
        const place = { segment: name, offset };
        if (offset === 0 && frame.sequence !== firstSequenceOf(name))
          this.#report('misnamed', place, frame.sequence);
        this.#take(frame, place);
        offset += frame.bytes;
      }
    }
  }

  /**
   * Called after the last segment.
   * @returns bytes at the very end that begin an entry and do not end it, as a process leaves them that is killed while
   * it writes; null when there are none
   */
  finish(): (ChainPlace & { readonly bytes: number }) | null {
    const stretch = this.#stretch;
    const torn = stretch?.kind === 'torn' ? stretch : null;
    if (stretch !== null && torn === null)
      this.#report(stretch.kind as 'changed', stretch, this.#expected ?? firstSequenceOf(stretch.segment));
    for (const gap of this.#gaps) this.#report('missing', gap, gap.from, gap.to);
    this.#checkBeginning();
    this.#checkEnd();
    return torn === null ? null : { segment: torn.segment, offset: torn.offset, bytes: torn.bytes };
  }

  #take(frame: Frame, place: ChainPlace): void {
    this.entries += 1;
    this.durableSequence = Math.max(this.durableSequence, frame.durableSequence);
    const { sequence } = frame;
    this.#first ??= { ...place, sequence, previousHash: Buffer.from(frame.previousHash) };
    this.#expected ??= Math.min(sequence, firstSequenceOf(place.segment));
    this.#endStretch(sequence);
    if (sequence < this.#expected) this.#misplaced(sequence, place);
    else this.#next(frame, place);
    const signed = this.#signed.get(sequence);
    if (signed !== undefined && !signed.hash.equals(frame.hash))
      this.#report('not-as-signed', place, sequence);
    this.#noteRemoval(frame.entry);
    this.#options.onEntry?.(frame.entry, { ...frame, ...place });
  }

  #next(frame: Frame, place: ChainPlace): void {
    const { sequence } = frame;
    if (this.#expected !== null && sequence > this.#expected) {
      // Reported at the end: what is missing here may still come.
      this.#gaps.push({ ...place, from: this.#expected, to: sequence - 1 });
      this.#sound = false;
    } else {
      this.#checkLink(frame, place);
    }
    this.#expected = sequence + 1;
    this.#expectedHash = Buffer.from(frame.hash);
    const point = { sequence, hash: this.#expectedHash };
    this.#previous = { ...place, ...point };
    if (this.#sound) this.intact = { segment: place.segment, offset: place.offset + frame.bytes, point };
  }

  /** A readable entry after unreadable bytes says which entries those were. */
  #endStretch(sequence: number): void {
    const stretch = this.#stretch;
    if (stretch === null) return;
    this.#stretch = null;
    const kind = stretch.kind === 'torn' ? 'unreadable' : stretch.kind;
    const from = this.#expected as number;
    if (sequence <= from) {
      this.#report('foreign', stretch, sequence);
      return;
    }
    this.#report(kind, stretch, from, sequence - 1);
    this.#expected = sequence;
    this.#expectedHash = null;
  }

  /** An entry names the hash of the one before it; where it names another, that one is not what it was. */
  #checkLink(frame: Frame, place: ChainPlace): void {
    const expected = this.#expectedHash ?? (frame.sequence === 1 ? NO_HASH : null);
    if (expected === null || frame.previousHash.equals(expected)) return;
    this.#report('changed', this.#previous ?? place, this.#previous?.sequence ?? frame.sequence);
  }

  #misplaced(sequence: number, place: ChainPlace): void {
    const at = this.#gaps.findIndex(({ from, to }) => from <= sequence && sequence <= to);
    this.#report(at < 0 ? 'repeated' : 'out-of-order', place, sequence);
    if (at >= 0) this.#closeGap(at, sequence);
  }

  #closeGap(at: number, sequence: number): void {
    const { from, to, ...place } = this.#gaps[at] as Gap;
    const rest = [
      { ...place, from, to: sequence - 1 },
      { ...place, from: sequence + 1, to },
    ].filter((gap) => gap.from <= gap.to);
    this.#gaps.splice(at, 1, ...rest);
  }

  #noteRemoval(entry: Buffer): void {
    // The entry's first byte is the tag of its one field.
    if (entry[0] !== REMOVED_TAG) return;
    const content = decodeEntry(entry)?.content;
    if (content?.$case !== 'removed') return;
    this.#removed = { sequence: Number(content.value.throughSequence), hash: content.value.throughHash };
  }

  /** A chain begins with 1, or after what an entry in it says was removed. */
  #checkBeginning(): void {
    const first = this.#first;
    if (first === null || this.#options.fromMiddle) return;
    const removed = this.#removed;
    const before = Math.min(first.sequence, firstSequenceOf(first.segment)) - 1;
    if (before > (removed?.sequence ?? 0))
      this.#report('missing', first, (removed?.sequence ?? 0) + 1, before);
    else if (removed?.sequence === first.sequence - 1 && !removed.hash.equals(first.previousHash))
      this.#report('changed', first, first.sequence);
  }

  /** What was signed has to be there. */
  #checkEnd(): void {
    const last = this.lastSequence;
    const signed = Math.max(0, ...this.#signed.keys());
    if (signed <= last) return;
    this.#report('missing', this.intact, last + 1, signed);
  }

  #report(kind: ChainProblem['kind'], place: ChainPlace, sequence: number, throughSequence = sequence): void {
    this.#sound = false;
    if (this.problems.length >= PROBLEMS_MAX) {
      this.problemsLeftOut += 1;
      return;
    }
    const { segment, offset } = place;
    this.problems.push({ kind, segment, offset, sequence, throughSequence });
  }
}

const STRETCH_KINDS = { 'beyond-end': 'torn', 'no-frame': 'unreadable', hash: 'changed' } as const;
/** Field 4 of AuditEntry, length-delimited. */
const REMOVED_TAG = (4 << 3) | 2;
