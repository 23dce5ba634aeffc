import { isUtf8 } from 'node:buffer';
import type { PlaceholderBook } from '../placeholder-book.ts';
import type { Redactor } from '../redactor.ts';
import type { Hit, Refused } from '../text-window.ts';
import { changeText } from './json-text.ts';
import { type ProtectionRefusal, type TrafficDirection, unreadable } from './protection-refusal.ts';

const NUL = 0;
/** Up to here it is quicker to look at bytes one by one than to ask for all. */
const SHORT_BYTES = 64;

/** Why a text may not go on, without the place. */
export interface TextRefusal {
  readonly refused: string;
  readonly because: Refused['because'] | 'unwritable' | 'too-many-texts';
}

/** Looks at single texts of one direction of one call, wherever they stand. `where` gives the place, for refusals alone. */
export class TextProtection {
  readonly direction: TrafficDirection;
  readonly book: PlaceholderBook;
  /** Times that something was found. */
  hits = 0;
  readonly #onHits: (hits: readonly Hit[]) => void;

  constructor(parts: {
    readonly direction: TrafficDirection;
    readonly book: PlaceholderBook;
    readonly onHits: (hits: readonly Hit[]) => void;
  }) {
    this.direction = parts.direction;
    this.book = parts.book;
    this.#onHits = parts.onHits;
  }

  /** @returns what goes on in place of the text, or why nothing may */
  change(text: string, redactor: Redactor, where: () => string): string | ProtectionRefusal {
    let refused: Refused | null = null;
    const changed = changeText(text, (part) => {
      const next = redactor.whole(part, this.book);
      if ('refused' in next) {
        refused = next;
        return null;
      }
      this.count(next.hits);
      return next.text;
    });
    if (changed !== null) return changed;
    return refused === null
      ? unreadable(this.direction, where(), 'JSON of fewer layers inside its strings')
      : this.refusal(refused, where());
  }

  /** A text as bytes. @returns null when it stays as it is */
  changeUtf8(bytes: Buffer, redactor: Redactor, where: () => string): string | ProtectionRefusal | null {
    const text = this.read(bytes, 0, bytes.length);
    if (text === null) return unreadable(this.direction, where(), 'valid UTF-8');
    const changed = this.change(text, redactor, where);
    return changed === text ? null : changed;
  }

  /**
   * Bytes that may be a text. Others are looked at as if each byte were a character; nothing can be put in place of
   * what is found there.
   */
  changeBytes(bytes: Buffer, redactor: Redactor, where: () => string): string | ProtectionRefusal | null {
    return !bytes.includes(NUL) && isUtf8(bytes)
      ? this.changeUtf8(bytes, redactor, where)
      : this.check(bytes.toString('latin1'), redactor, where);
  }

  /** A text that nothing can be put in place of. @returns null when it may go on */
  check(text: string, redactor: Redactor, where: () => string): ProtectionRefusal | null {
    const found = redactor.whole(text, this.book);
    if ('refused' in found) return this.refusal(found, where());
    this.count(found.hits);
    if (found.text === text) return null;
    return this.refusal({ refused: found.hits[0]?.detector ?? '', because: 'unwritable' }, where());
  }

  /** Null: not valid UTF-8. */
  read(buffer: Buffer, start: number, end: number): string | null {
    if (end - start <= SHORT_BYTES && isAscii(buffer, start, end))
      return buffer.toString('latin1', start, end);
    return isUtf8(buffer.subarray(start, end)) ? buffer.toString('utf8', start, end) : null;
  }

  count(hits: readonly Hit[]): void {
    if (hits.length === 0) return;
    this.hits += hits.length;
    this.#onHits(hits);
  }

  refusal({ refused, because }: TextRefusal, field: string): ProtectionRefusal {
    if (because === 'found') this.count([{ detector: refused, count: 1 }]);
    return { kind: 'protected', direction: this.direction, because, detector: refused, field };
  }
}

function isAscii(buffer: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if ((buffer[i] as number) >= 0x80) return false;
  return true;
}
