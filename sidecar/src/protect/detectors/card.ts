import { CARD_DIGITS_MAX, CARD_DIGITS_MIN, cardLengths } from './card-networks.ts';
import {
  afterGap,
  digitsOf,
  digitValue,
  GAP_CHARACTERS_MAX,
  isAsciiLetter,
  isAsciiLetterOrDigit,
  isHexLetter,
  isSeparator,
  isZeroWidth,
} from './characters.ts';
import { type Detector, MORE, NONE } from './detector.ts';
import { startsOf } from './starts.ts';

/** Groups of fewer digits are taken for a card only when no other digits stand around them. */
const GROUP_DIGITS_MIN = 3;
/** More digits than these after a decimal point are a fraction. */
const FRACTION_DIGITS_MIN = 5;
/** How far back a run of letters before the first digit is looked at: `CARD4111…`. */
const WORD_CHARACTERS_MAX = 16;
const DOT = 0x2e;

/**
 * Payment card numbers (ISO/IEC 7812): a network's prefix and length, the Luhn check, and separators between any two digits.
 * Digits inside hexadecimal strings and the fractions of decimal numbers are none.
 */
export const card: Detector = {
  name: 'CARD',
  charactersMax: CARD_DIGITS_MAX + CARD_DIGITS_MAX * GAP_CHARACTERS_MAX + 1,
  starts: startsOf('0-9', { beyondAscii: true }),
  match: (text, at, complete) => {
    if (digitValue(text.charCodeAt(at)) < 0 || !canBeginAt(text, at)) return NONE;
    return longestFrom(text, at, complete);
  },
  canonical: digitsOf,
};

/** Not within a number, nor within a run of letters and digits that may be a hash or an identifier. */
function canBeginAt(text: string, at: number): boolean {
  if (at === 0 || !isAsciiLetterOrDigit(text.charCodeAt(at - 1))) {
    return at === 0 || digitValue(text.charCodeAt(at - 1)) < 0;
  }
  let isWord = false;
  for (let index = at - 1; index >= 0 && at - index <= WORD_CHARACTERS_MAX; index--) {
    const code = text.charCodeAt(index);
    if (!isAsciiLetterOrDigit(code)) return isWord;
    if (!isAsciiLetter(code)) return false;
    isWord ||= !isHexLetter(code);
  }
  return isWord;
}

/** A gap that can be seen: characters without a width divide no group. */
function isVisible(text: string, from: number, to: number): boolean {
  for (let index = from; index < to; index++) {
    if (!isZeroWidth(text.charCodeAt(index))) return true;
  }
  return false;
}

/** `0.4111…` */
function isFraction(text: string, at: number): boolean {
  return at >= 2 && text.charCodeAt(at - 1) === DOT && digitValue(text.charCodeAt(at - 2)) >= 0;
}

/** Other digits stand before or after, with the gap between that stands within. */
function isPartOfList(
  text: string,
  {
    at,
    gap,
    end,
    following,
    goesOn,
  }: { at: number; gap: string; end: number; following: number; goesOn: boolean },
): boolean {
  if (goesOn && text.slice(end, following) === gap) return true;
  const before = at - gap.length - 1;
  return before >= 0 && text.startsWith(gap, before + 1) && digitValue(text.charCodeAt(before)) >= 0;
}

function longestFrom(text: string, at: number, complete: boolean): number {
  const luhn = new Luhn();
  let prefix = 0;
  let lengths = 0;
  let groupDigits = 0;
  let scattered = false;
  let gap = '';
  let best = NONE;
  let index = at;
  for (let count = 1; ; count++) {
    const digit = digitValue(text.charCodeAt(index));
    luhn.add(digit);
    groupDigits++;
    if (count <= 4) {
      prefix = prefix * 10 + digit;
      lengths = cardLengths(prefix, count);
      if (lengths === 0) return NONE;
    }
    index++;
    if (index === text.length && !complete) return MORE;
    const isLast = count === CARD_DIGITS_MAX;
    if (index < text.length && digitValue(text.charCodeAt(index)) >= 0) {
      if (isLast) return best;
      if (count === FRACTION_DIGITS_MIN && groupDigits === count && isFraction(text, at)) return NONE;
      continue;
    }
    const following = afterGap(text, index);
    if (following === text.length && !complete) return MORE;
    const goesOn = following < text.length && digitValue(text.charCodeAt(following)) >= 0;
    const fits = count >= CARD_DIGITS_MIN && (lengths & (1 << count)) !== 0 && luhn.holds();
    if (fits && !(scattered && isPartOfList(text, { at, gap, end: index, following, goesOn }))) best = index;
    if (!goesOn || isLast) return best;
    if (isVisible(text, index, following)) {
      scattered ||= groupDigits < GROUP_DIGITS_MIN;
      groupDigits = 0;
    }
    gap = text.slice(index, following);
    index = following;
  }
}

/** The check of ISO/IEC 7812-1 annex B over digits that come from the left, for every number that may end at the last of them. */
class Luhn {
  #count = 0;
  /** For a number whose last digit is the first, third … one. */
  #odd = 0;
  /** For a number whose last digit is the second, fourth … one. */
  #even = 0;

  add(digit: number): void {
    this.#count++;
    const doubled = digit > 4 ? digit * 2 - 9 : digit * 2;
    this.#odd += this.#count % 2 === 1 ? digit : doubled;
    this.#even += this.#count % 2 === 1 ? doubled : digit;
  }

  holds(): boolean {
    return (this.#count % 2 === 1 ? this.#odd : this.#even) % 10 === 0;
  }
}
