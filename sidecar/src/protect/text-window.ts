import { CONTEXT_CHARACTERS, MORE, NONE, type Tail } from './detectors/detector.ts';
import type { PlaceholderBook } from './placeholder-book.ts';
import type { RedactionTable, Treatment } from './redaction-table.ts';

/** How often a detector has found something. */
export interface Hit {
  readonly detector: string;
  readonly count: number;
}

/** What goes on in place of a text. */
export interface Redacted {
  readonly text: string;
  readonly hits: readonly Hit[];
}

/** Nothing goes on: a detector whose action is to refuse has found something, or one has failed. */
export interface Refused {
  readonly refused: string;
  readonly because: 'found' | 'failed';
}

/** Characters of an endless match that one placeholder stands for. */
const MATCH_CHARACTERS_MAX = 16_384;
/** Text that has been dealt with is dropped when there is this much of it. */
const SLACK_CHARACTERS = 256;

const NO_HITS: readonly Hit[] = [];
const NOTHING: Redacted = { text: '', hits: NO_HITS };

interface OpenMatch {
  readonly treatment: Treatment;
  readonly tail: Tail;
  value: string;
  /** How far it goes, as asked for the text that there is; null: not asked yet. */
  extent: { readonly end: number; readonly ended: boolean } | null;
}

/**
 * A text that arrives in pieces, redacted as the whole of it would be. Held back is only what may turn out to be part of a match:
 * at most the longest match of the detectors and a character that shows its end.
 */
export class TextWindow {
  readonly #table: RedactionTable;
  readonly #book: PlaceholderBook;
  #buffer = '';
  /** Text before #buffer. */
  #base = 0;
  /** Up to here it is decided where matches begin. */
  #at = 0;
  /** Up to here text has been let go or taken out. */
  #gone = 0;
  #open: OpenMatch | null = null;
  #refused: Refused | null = null;
  #mustRefuse = false;
  #looking = '';
  #counts: Map<string, number> | null = null;
  /** By detector that only records: where its last match ended, from the beginning of the text. */
  #recordedTo: Map<string, number> | null = null;

  constructor(table: RedactionTable, book: PlaceholderBook) {
    this.#table = table;
    this.#book = book;
  }

  /** Characters (UTF-16 code units) that have come in and not gone out. */
  get heldCharacters(): number {
    return this.#buffer.length - this.#gone;
  }

  /** Whether anything may still come out, if the text ended now. */
  get isHolding(): boolean {
    return this.#open !== null || this.heldCharacters > 0;
  }

  push(text: string): Redacted | Refused {
    if (text === '' && this.#refused === null) return NOTHING;
    return this.#run(text, false);
  }

  /** The text is over: what was held back goes on. */
  end(): Redacted | Refused {
    return this.#run('', true);
  }

  /** What `end` would give now. The text may go on all the same. */
  preview(): Redacted | Refused {
    const copy = new TextWindow(this.#table, this.#book);
    copy.#buffer = this.#buffer;
    copy.#base = this.#base;
    copy.#at = this.#at;
    copy.#gone = this.#gone;
    copy.#open = this.#open && { ...this.#open };
    copy.#refused = this.#refused;
    copy.#recordedTo = this.#recordedTo && new Map(this.#recordedTo);
    return copy.end();
  }

  /** All of a text at once. */
  whole(text: string): Redacted | Refused {
    return this.#run(text, true);
  }

  #run(text: string, complete: boolean): Redacted | Refused {
    if (this.#refused !== null) return this.#refused;
    this.#buffer = this.#buffer === '' ? text : this.#buffer + text;
    if (this.#open !== null) this.#open.extent = null;
    let out: string;
    try {
      out = this.#scan(complete);
    } catch {
      // What was thrown may hold content: the detector's name is all that goes on.
      return this.#refuse('failed');
    }
    if (this.#mustRefuse) return this.#refuse('found');
    this.#drop();
    return { text: out, hits: this.#takeHits() };
  }

  /** What can go on of the text so far. */
  #scan(complete: boolean): string {
    const text = this.#buffer;
    let out = '';
    while (this.#at < text.length) {
      if (this.#open !== null) {
        const replaced = this.#follow(this.#open, complete);
        if (replaced === null) return out;
        out += replaced;
        continue;
      }
      const treatments = this.#seek();
      if (treatments === null) break;
      const replaced = this.#decide(treatments, complete);
      if (replaced === null) break;
      out += replaced;
    }
    if (this.#open === null) return out + this.#letGo(this.#table.recordsOnly ? text.length : this.#at);
    return complete ? out + this.#close(this.#open) : out;
  }

  /** Goes to the next place where a match can begin and says which; null: to the end. */
  #seek(): readonly Treatment[] | null {
    const text = this.#buffer;
    let at = this.#at;
    let before = at === 0 ? 0 : text.charCodeAt(at - 1);
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at);
      const treatments = this.#table.startingWith(code, before);
      if (treatments !== null) {
        this.#at = at;
        return treatments;
      }
      before = code;
    }
    this.#at = at;
    return null;
  }

  /** What goes on up to and including a match here, empty where there is none; null: that can't be told yet. */
  #decide(treatments: readonly Treatment[], complete: boolean): string | null {
    const text = this.#buffer;
    const at = this.#at;
    let best: Treatment | null = null;
    let bestEnd = NONE;
    let bestTail: Tail | null = null;
    let waits = false;
    let recorded: { treatment: Treatment; end: number }[] | null = null;
    for (const treatment of treatments) {
      const { detector, action } = treatment;
      this.#looking = detector.name;
      const end = detector.match(text, at, complete);
      if (end === NONE) continue;
      if (end === MORE ? complete : end <= at || end > text.length) throw new Error('not an end of a match');
      if (end === MORE) waits = true;
      else if (action === 'refuse') {
        this.#mustRefuse = true;
        this.#at = text.length;
        return null;
      } else if (action === 'record') (recorded ??= []).push({ treatment, end });
      else {
        const tail = detector.tail?.(text, at, end) ?? null;
        if (bestTail === null && (tail !== null || end > bestEnd)) {
          best = treatment;
          bestEnd = end;
          bestTail = tail;
        }
      }
    }
    if (waits) return null;
    for (const { treatment, end } of recorded ?? []) this.#record(treatment.detector.name, end);
    this.#at = at + 1;
    // What lies within a match before it is gone already; what goes beyond it goes as well.
    if (best === null || (bestTail === null && bestEnd <= this.#gone)) return '';
    return this.#take(best, { at, end: bestEnd, tail: bestTail });
  }

  #take(treatment: Treatment, { at, end, tail }: { at: number; end: number; tail: Tail | null }): string {
    this.#count(treatment.detector.name);
    const before = this.#letGo(at);
    const value = this.#buffer.slice(this.#gone, end);
    this.#gone = Math.max(this.#gone, end);
    if (tail === null) return before + treatment.replace(value, this.#book);
    this.#open = { treatment, tail, value, extent: null };
    this.#at = this.#gone;
    return before;
  }

  /** Goes along an endless match; what takes its place once it ends, null: it waits for more. */
  #follow(open: OpenMatch, complete: boolean): string | null {
    const text = this.#buffer;
    this.#looking = open.treatment.detector.name;
    open.extent ??= open.tail.take(text, this.#at, complete);
    const { end, ended } = open.extent;
    const cut = this.#at + MATCH_CHARACTERS_MAX - open.value.length;
    const to = Math.min(end, cut);
    open.value += text.slice(this.#at, to);
    this.#at = to;
    this.#gone = to;
    if (to === cut && !(ended && end === cut)) {
      const replaced = open.treatment.replace(open.value, this.#book);
      open.value = '';
      return replaced;
    }
    if (ended) return this.#close(open);
    if (complete) throw new Error('a match that ends neither with the text nor before it');
    return null;
  }

  #close(open: OpenMatch): string {
    this.#open = null;
    return open.value === '' ? '' : open.treatment.replace(open.value, this.#book);
  }

  #letGo(to: number): string {
    if (to <= this.#gone) return '';
    const text = this.#buffer.slice(this.#gone, to);
    this.#gone = to;
    return text;
  }

  #record(name: string, end: number): void {
    this.#recordedTo ??= new Map();
    if (this.#base + end <= (this.#recordedTo.get(name) ?? 0)) return;
    this.#recordedTo.set(name, this.#base + end);
    this.#count(name);
  }

  #count(name: string): void {
    this.#counts ??= new Map();
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  #takeHits(): readonly Hit[] {
    if (this.#counts === null) return NO_HITS;
    const hits = Array.from(this.#counts, ([detector, count]) => ({ detector, count }));
    this.#counts = null;
    return hits;
  }

  #refuse(because: Refused['because']): Refused {
    this.#refused = { refused: this.#looking, because };
    this.#buffer = '';
    this.#at = 0;
    this.#gone = 0;
    this.#open = null;
    return this.#refused;
  }

  /** Drops what has been dealt with, but for what detectors look back at. */
  #drop(): void {
    const dealt = Math.min(this.#at, this.#gone) - CONTEXT_CHARACTERS;
    if (dealt < SLACK_CHARACTERS) return;
    this.#buffer = this.#buffer.slice(dealt);
    this.#base += dealt;
    this.#at -= dealt;
    this.#gone -= dealt;
  }
}
