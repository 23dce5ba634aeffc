const DIGITS = '0123456789';
const LOWER = 'abcdefghijklmnopqrstuvwxyz';
const UPPER = LOWER.toUpperCase();

export const ALPHABET = {
  digits: DIGITS,
  lower: LOWER,
  upper: UPPER,
  alphanumeric: UPPER + LOWER + DIGITS,
  upperAlphanumeric: UPPER + DIGITS,
  lowerAlphanumeric: LOWER + DIGITS,
  hex: '0123456789abcdef',
  base64: `${UPPER}${LOWER}${DIGITS}+/`,
  base64Url: `${UPPER}${LOWER}${DIGITS}-_`,
} as const;

/** The same choices for the same seed (xorshift32, Marsaglia 2003). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0 || 1;
  }

  /** 0 ≤ n < 1. */
  next(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return (state >>> 0) / 2 ** 32;
  }

  /** Both ends included. */
  integer(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(choices: readonly T[]): T {
    const chosen = choices[this.integer(0, choices.length - 1)];
    if (chosen === undefined) throw new Error('nothing to pick from');
    return chosen;
  }

  string(length: number, alphabet: string = ALPHABET.digits): string {
    return Array.from({ length }, () => alphabet.charAt(this.integer(0, alphabet.length - 1))).join('');
  }

  /** `#` becomes a digit, `X` one from 2 to 9, all else stays. */
  fill(form: string): string {
    return form.replaceAll(/[#X]/g, (place) =>
      String(place === '#' ? this.integer(0, 9) : this.integer(2, 9)),
    );
  }
}
