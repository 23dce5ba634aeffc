/** No match begins here. */
export const NONE = -1;
/** The text ends before it can be told whether a match begins here, or where it ends. */
export const MORE = -2;

/** Text before a position that a detector may look at: what a window keeps of what it has let go. */
export const CONTEXT_CHARACTERS = 64;

/** Which characters a match can begin with. What isn't named here costs a look into a table. */
export interface Starts {
  /** 128 entries, by ASCII code: 1 where a match can begin. */
  readonly ascii: Uint8Array;
  /** A match can begin with a character beyond ASCII. */
  readonly beyondAscii: boolean;
  /** A match never begins right after an ASCII letter, digit or underscore. */
  readonly atWordStart: boolean;
}

/**
 * Finds one kind of sensitive value. A detector keeps nothing between calls: what it says of a position follows from the text
 * alone, so that a text that arrives in pieces is treated as the whole of it.
 */
export interface Detector {
  /** As policy names it, which is also what placeholders show: `CARD`. */
  readonly name: string;
  /** Longest match and what has to be seen after it, in UTF-16 code units: the most that is held back of a stream. */
  readonly charactersMax: number;
  readonly starts: Starts;
  /**
   * The end of the longest match that begins at `at`, NONE, or MORE; never MORE when `complete`, which says that nothing comes
   * after `text`. Once it has answered other than MORE, more text doesn't change the answer. Looks at no more than
   * CONTEXT_CHARACTERS before `at`.
   */
  match(text: string, at: number, complete: boolean): number;
  /** What makes two spellings one value: a card number without its spaces. Default: the match itself. */
  readonly canonical?: (match: string) => string;
  /** How the match that begins at `at` and ends, so far, at `end` goes on without a limit; null: it doesn't. */
  readonly tail?: (text: string, at: number, end: number) => Tail | null;
}

/** The rest of a match that has no longest length: a private key up to its last line. */
export interface Tail {
  /** How far from `from` the match goes on, and whether it ends there; what is neither taken nor ended waits for more text. */
  take(text: string, from: number, complete: boolean): { readonly end: number; readonly ended: boolean };
}
