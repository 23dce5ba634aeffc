import {
  digitsOf,
  digitValue,
  isAsciiLetterOrDigit,
  isDash,
  isSeparator,
  isTie,
  isTiedBefore,
  isZeroWidth,
} from './characters.ts';
import { contextBefore } from './context.ts';
import { type Detector, MORE, NONE } from './detector.ts';
import { startsOf } from './starts.ts';

/** What makes nine digits without separators a social security number. */
const NAMED =
  /(?:\bssn|social[\s_-]*security(?:[\s_-]*(?:number|num|no))?|\bsoc\.?\s?sec\.?|\btax(?:payer)?[\s_-]*id)\b[^\p{L}\p{N}]{0,4}(?:is|was|of|:)?[^\p{L}\p{N}]{0,4}$/iu;
const DIGITS = 9;
const AREA_DIGITS = 3;
const GROUP_DIGITS = 2;
const SERIAL_DIGITS = 4;
const GAP_MAX = 3;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
/** Characters without a width that may stand among the digits. */
const ZERO_WIDTH_MAX = 4;

/**
 * US social security numbers, 3-2-4 digits: with the same separator twice, or without any where the text before names them. Areas
 * 000, 666 and 900 to 999, group 00 and serial 0000 were never given out.
 */
export const usSsn: Detector = {
  name: 'US_SSN',
  charactersMax: DIGITS + ZERO_WIDTH_MAX + 2 * GAP_MAX + 2,
  starts: startsOf('0-9', { beyondAscii: true, atWordStart: true }),
  match(text, at, complete) {
    if (digitValue(text.charCodeAt(at)) < 0) return NONE;
    if (isTiedBefore(text, at) && !NAMED.test(contextBefore(text, at))) return NONE;
    const reader = new GroupReader(text, at);
    const area = reader.group(AREA_DIGITS);
    if (/^(?:000|666|9)/.test(area)) return NONE;
    const gap = reader.gap();
    const group = reader.group(GROUP_DIGITS);
    const isSame = reader.gap() === gap;
    const serial = reader.group(SERIAL_DIGITS);
    if (reader.failed) return NONE;
    if (reader.ranOut) return complete ? NONE : MORE;
    if (!isSame || gap === null || group === '00' || serial === '0000') return NONE;
    if (gap === '' && !NAMED.test(contextBefore(text, at))) return NONE;
    return goesOn(text, reader.index, complete) ?? reader.index;
  },
  canonical: digitsOf,
};

/** What comes after makes it part of something longer: NONE; or can't be told: MORE. */
function goesOn(text: string, end: number, complete: boolean): number | null {
  if (end === text.length) return complete ? null : MORE;
  const next = text.charCodeAt(end);
  if (isAsciiLetterOrDigit(next) || digitValue(next) >= 0) return NONE;
  if (!isTie(next)) return null;
  if (end + 1 === text.length) return complete ? null : MORE;
  return digitValue(text.charCodeAt(end + 1)) >= 0 ? NONE : null;
}

/** Reads groups of digits and the gaps between them, and says at the end whether they were there. */
class GroupReader {
  index: number;
  failed = false;
  /** The text was over before the groups were. */
  ranOut = false;
  readonly #text: string;
  #zeroWidth = 0;

  constructor(text: string, at: number) {
    this.#text = text;
    this.index = at;
  }

  group(size: number): string {
    let digits = '';
    while (digits.length < size && !this.failed && !this.ranOut) {
      if (this.index === this.#text.length) {
        this.ranOut = true;
        break;
      }
      const code = this.#text.charCodeAt(this.index);
      const digit = digitValue(code);
      if (digit >= 0) digits += digit;
      else if (!isZeroWidth(code) || ++this.#zeroWidth > ZERO_WIDTH_MAX) this.failed = true;
      this.index++;
    }
    return digits;
  }

  /** `-`, `.`, a space, or nothing at all; null: several of them, or another line. */
  gap(): string | null {
    const to = Math.min(this.#text.length, this.index + GAP_MAX);
    let kind: string | null = '';
    for (; this.index < to; this.index++) {
      const code = this.#text.charCodeAt(this.index);
      if (!isSeparator(code)) break;
      if (isTie(code)) kind = kind === '' || kind === ' ' ? (isDash(code) ? '-' : '.') : null;
      else if (code === LINE_FEED || code === CARRIAGE_RETURN) kind = null;
      else if (kind === '' && !isZeroWidth(code)) kind = ' ';
    }
    return kind;
  }
}
