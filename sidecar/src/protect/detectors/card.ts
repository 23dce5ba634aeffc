import { CARD_DIGITS_MAX, CARD_DIGITS_MIN, cardLengths } from './card-networks.ts';
import {
  afterGap,
  countDigits,
  digitsOf,
  digitValue,
  GAP_CHARACTERS_MAX,
  isAsciiLetter,
  isAsciiLetterOrDigit,
  isHexLetter,
  isTie,
  isZeroWidth,
  TEXT_ENDS,
} from './characters.ts';
import { CONTEXT_CHARACTERS, type Detector, MORE, NONE } from './detector.ts';
import { iban } from './iban.ts';
import { startsOf } from './starts.ts';

/** Groups of fewer digits are taken for a card only when no other digits stand around them. */
const GROUP_DIGITS_MIN = 4;
/** More digits than these after a decimal point are a fraction. */
const FRACTION_DIGITS_MIN = 5;
/** How far back a run of letters before the first digit is looked at: `CARD4111…`. */
const WORD_CHARACTERS_MAX = 16;
const DOT = 0x2e;
const PREFIX_DIGITS_MAX = 4;

/**
 * Payment card numbers (ISO/IEC 7812): a network's prefix and length, the Luhn check, and separators between any two digits.
 * Digits inside hexadecimal strings and the fractions of decimal numbers are none.
 */
export const card: Detector = {
  name: 'CARD',
  charactersMax: Math.max(CARD_DIGITS_MAX + CARD_DIGITS_MAX * GAP_CHARACTERS_MAX + 1, iban.charactersMax),
  starts: startsOf('0-9', { beyondAscii: true }),
  match: (text, at, complete) => {
    if (digitValue(text.charCodeAt(at)) < 0 || !canBeginAt(text, at)) return NONE;
    const count = countDigits(text, { from: at, enough: CARD_DIGITS_MIN, afterGap });
    if (count !== TEXT_ENDS && count < CARD_DIGITS_MIN) return NONE;
    const end = longestFrom(text, at, complete);
    return end === NONE || end === MORE ? end : unlessInAccount(text, { at, end, complete });
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

/** The digits of an IBAN are no card number, however they are grouped. */
function unlessInAccount(
  text: string,
  { at, end, complete }: { at: number; end: number; complete: boolean },
): number {
  for (let index = Math.max(0, at - CONTEXT_CHARACTERS + 1); index < at; index++) {
    if (
      !isAsciiLetter(text.charCodeAt(index)) ||
      (index > 0 && isAsciiLetterOrDigit(text.charCodeAt(index - 1)))
    ) {
      continue;
    }
    const account = iban.match(text, index, complete);
    if (account === MORE) return MORE;
    if (account > at) return NONE;
  }
  return end;
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

/** What is read of a number, digit by digit. */
interface Reading {
  readonly at: number;
  prefix: number;
  /** Lengths that the prefix allows. */
  lengths: number;
  /** Digits of the group that is being read, and of the first one. */
  groupDigits: number;
  firstGroupDigits: number;
  /** The first gap between two groups. */
  gap: string;
}

function longestFrom(text: string, at: number, complete: boolean): number {
  const reading: Reading = { at, prefix: 0, lengths: 0, groupDigits: 0, firstGroupDigits: 0, gap: '' };
  const luhn = { odd: 0, even: 0 };
  let best = NONE;
  let index = at;
  for (let count = 1; ; count++) {
    const digit = digitValue(text.charCodeAt(index));
    addToLuhn(luhn, digit, count);
    reading.groupDigits++;
    if (count <= PREFIX_DIGITS_MAX) {
      reading.prefix = reading.prefix * 10 + digit;
      reading.lengths = cardLengths(reading.prefix, count);
      if (reading.lengths === 0) return NONE;
    }
    index++;
    if (index === text.length && !complete) return MORE;
    const isLast = count === CARD_DIGITS_MAX;
    if (index < text.length && digitValue(text.charCodeAt(index)) >= 0) {
      if (isLast) return best;
      if (count === FRACTION_DIGITS_MIN && reading.groupDigits === count && isFraction(text, at)) return NONE;
      continue;
    }
    const following = afterGap(text, index);
    if (following === text.length && !complete) return MORE;
    const goesOn = digitsFollow(text, index, following);
    const fits = count >= CARD_DIGITS_MIN && (reading.lengths & (1 << count)) !== 0;
    if (fits && holdsLuhn(luhn, count) && !isPartOfList(text, reading, goesOn ? following : index))
      best = index;
    if (!goesOn || isLast || !endGroup(text, reading, index, following)) return best;
    index = following;
  }
}

/** A digit comes after the gap, and the gap is none between the items of a list. */
function digitsFollow(text: string, from: number, to: number): boolean {
  if (to === text.length || digitValue(text.charCodeAt(to)) < 0) return false;
  if (to - from < 2) return true;
  const gap = text.slice(from, to);
  return !(/[\r\n]/.test(gap) && /[^\s]/.test(gap));
}

/** Whether the groups so far may be those of a card: those of less than four digits are all alike, and the first continues no other number. */
function endGroup(text: string, reading: Reading, from: number, to: number): boolean {
  if (!isVisible(text, from, to)) return true;
  const { at, groupDigits } = reading;
  reading.groupDigits = 0;
  if (reading.firstGroupDigits > 0) {
    return reading.firstGroupDigits >= GROUP_DIGITS_MIN
      ? groupDigits >= GROUP_DIGITS_MIN
      : groupDigits === reading.firstGroupDigits;
  }
  reading.firstGroupDigits = groupDigits;
  reading.gap = text.slice(from, to);
  const isTied =
    to === from + 1 && isTie(text.charCodeAt(from)) && text.charCodeAt(at - 1) === text.charCodeAt(from);
  return !(isTied && hasDigits(text, at - 1 - groupDigits, at - 1));
}

/** Digits that are set in such small groups are a card number only when no more of them stand before or after. */
function isPartOfList(text: string, reading: Reading, following: number): boolean {
  const { at, gap, groupDigits, firstGroupDigits } = reading;
  if (firstGroupDigits === 0 || firstGroupDigits >= GROUP_DIGITS_MIN) return false;
  if (groupDigits > firstGroupDigits) return true;
  if (hasDigits(text, following, following + 1) && text.endsWith(gap, following)) return true;
  return text.startsWith(gap, at - gap.length) && hasDigits(text, at - gap.length - 1, at - gap.length);
}

function hasDigits(text: string, from: number, to: number): boolean {
  if (from < 0 || to > text.length) return false;
  for (let index = from; index < to; index++) {
    if (digitValue(text.charCodeAt(index)) < 0) return false;
  }
  return true;
}

/**
 * The check of ISO/IEC 7812-1 annex B over digits that come from the left: one sum for numbers with an odd count of digits, one for
 * those with an even count.
 */
function addToLuhn(luhn: { odd: number; even: number }, digit: number, count: number): void {
  const doubled = digit > 4 ? digit * 2 - 9 : digit * 2;
  luhn.odd += count % 2 === 1 ? digit : doubled;
  luhn.even += count % 2 === 1 ? doubled : digit;
}

function holdsLuhn({ odd, even }: { odd: number; even: number }, count: number): boolean {
  return (count % 2 === 1 ? odd : even) % 10 === 0;
}
