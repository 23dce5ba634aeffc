import type { Detector } from './detectors/detector.ts';
import type { PlaceholderBook } from './placeholder-book.ts';

/** What one detector looks for and what takes the place of what it finds. */
export interface Treatment {
  readonly detector: Detector;
  readonly action: 'redact' | 'refuse' | 'record';
  /** What is shown in place of a match. */
  replace(match: string, book: PlaceholderBook): string;
}

/** Which detectors a match can begin with, by character: ordinary text costs one look per character. */
export class RedactionTable {
  /** Nothing is ever taken out: text need not wait. */
  readonly recordsOnly: boolean;
  /** Entries 0 to 127: after what is no word; 128 to 255: after a letter, digit or underscore; then beyond ASCII, both. */
  readonly #byCharacter: readonly (readonly Treatment[] | null)[];

  constructor(treatments: readonly Treatment[]) {
    this.recordsOnly = treatments.every(({ action }) => action === 'record');
    this.#byCharacter = Array.from({ length: 258 }, (_, index) => {
      const inWord = index >= 256 ? index === 257 : index >= 128;
      const found = treatments.filter(({ detector: { starts } }) =>
        inWord && starts.atWordStart
          ? false
          : index >= 256
            ? starts.beyondAscii
            : starts.ascii[index & 127] === 1,
      );
      return found.length === 0 ? null : found;
    });
  }

  /** Who can begin a match with the character `code` after the character `before` (0 at the beginning). */
  startingWith(code: number, before: number): readonly Treatment[] | null {
    const word = isWordCode(before);
    const index = code < 128 ? (word ? code + 128 : code) : word ? 257 : 256;
    return this.#byCharacter[index] ?? null;
  }
}

/** ASCII letters, digits and underscore. */
function isWordCode(code: number): boolean {
  return (
    (code >= 0x61 && code <= 0x7a) ||
    (code >= 0x30 && code <= 0x39) ||
    (code >= 0x41 && code <= 0x5a) ||
    code === 0x5f
  );
}
