/** What may leave after a piece of text, and whether a stop sequence came up. */
export interface Filtered {
  readonly text: string;
  readonly stopped: boolean;
}

/**
 * Ends text before any of the stop sequences, however the pieces are cut: text that could still become the beginning
 * of one is held back until it is decided.
 */
export class StopFilter {
  readonly #stops: readonly string[];
  #held = '';

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  push(piece: string): Filtered {
    const text = this.#held + piece;
    const found = Math.min(...this.#stops.map((stop) => indexOrInfinity(text, stop)));
    if (found < Infinity) {
      this.#held = '';
      return { text: text.slice(0, found), stopped: true };
    }
    const undecided = Math.max(0, ...this.#stops.map((stop) => overlap(text, stop)));
    this.#held = text.slice(text.length - undecided);
    return { text: text.slice(0, text.length - undecided), stopped: false };
  }

  /** What was held back when no more text comes. */
  flush(): string {
    const held = this.#held;
    this.#held = '';
    return held;
  }
}

function indexOrInfinity(text: string, stop: string): number {
  const index = text.indexOf(stop);
  return index < 0 ? Infinity : index;
}

/** Length of the longest end of `text` that is a beginning of `stop`. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length -= 1) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
