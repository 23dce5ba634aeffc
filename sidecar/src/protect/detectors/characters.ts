/** Separators that may stand between two digits of one number, and characters without a width. */
export const GAP_CHARACTERS_MAX = 4;

const DOT = 0x2e;
const SLASH = 0x2f;

/** 1: separator, 2: letter, 3: digit; by ASCII code. */
const ASCII_KIND = Uint8Array.from({ length: 128 }, (_, code) => {
  const character = String.fromCharCode(code);
  if (/[ \t\r\n.-]/.test(character)) return 1;
  if (/[A-Za-z]/.test(character)) return 2;
  return /[0-9]/.test(character) ? 3 : 0;
});

/** Where the ten digits of a script begin: ASCII, Arabic-Indic, Persian, Devanagari, full-width. */
const DIGIT_ZEROS = [0x660, 0x6f0, 0x966, 0xff10];

/** What a decimal digit counts, -1 for any other character. */
export function digitValue(code: number): number {
  if (code < 128) return code >= 0x30 && code <= 0x39 ? code - 0x30 : -1;
  if (code < 0x660) return -1;
  for (const zero of DIGIT_ZEROS) {
    if (code >= zero && code <= zero + 9) return code - zero;
  }
  return -1;
}

export function isAsciiLetter(code: number): boolean {
  return code < 128 && ASCII_KIND[code] === 2;
}

export function isAsciiLetterOrDigit(code: number): boolean {
  return code < 128 && (ASCII_KIND[code] ?? 0) >= 2;
}

export function isHexLetter(code: number): boolean {
  const lower = code | 0x20;
  return code < 128 && lower >= 0x61 && lower <= 0x66;
}

/** Soft hyphen, zero-width space and joiners, direction marks, word joiner, byte order mark. */
export function isZeroWidth(code: number): boolean {
  if (code < 0xad) return false;
  return code === 0xad || (code >= 0x200b && code <= 0x200f) || code === 0x2060 || code === 0xfeff;
}

export function isDash(code: number): boolean {
  return code === 0x2d || (code >= 0x2010 && code <= 0x2015) || code === 0x2212;
}

/** What ties two groups into one identifier. */
export function isTie(code: number): boolean {
  return code === DOT || isDash(code);
}

/** A digit stands right before, or what ties it to what stands before: `12-555…`, `2026/555…`. */
export function isTiedBefore(text: string, at: number): boolean {
  if (at === 0) return false;
  const before = text.charCodeAt(at - 1);
  if (digitValue(before) >= 0) return true;
  return at > 1 && (isTie(before) || before === SLASH) && isAsciiLetterOrDigit(text.charCodeAt(at - 2));
}

/** Spaces and line ends, dashes, dots, and what has no width. */
export function isSeparator(code: number): boolean {
  if (code < 128) return ASCII_KIND[code] === 1;
  return isWideSpace(code) || isDash(code) || code === 0xb7 || isZeroWidth(code);
}

/** No-break, figure, thin and ideographic spaces and their like. */
function isWideSpace(code: number): boolean {
  return (
    code === 0xa0 ||
    (code >= 0x2000 && code <= 0x200a) ||
    code === 0x202f ||
    code === 0x205f ||
    code === 0x3000
  );
}

/** The first place from `from` that holds no separator, at most GAP_CHARACTERS_MAX further; the end of the text as well. */
export function afterGap(text: string, from: number): number {
  const to = Math.min(text.length, from + GAP_CHARACTERS_MAX);
  let index = from;
  while (index < to && isSeparator(text.charCodeAt(index))) index++;
  return index;
}

/** The text ends before the digits do. */
export const TEXT_ENDS = -1;

/** How many digits follow each other from `from` on with no more than gaps between, counted up to `enough`; or TEXT_ENDS. */
export function countDigits(
  text: string,
  {
    from,
    enough,
    afterGap,
  }: { from: number; enough: number; afterGap: (text: string, from: number) => number },
): number {
  let count = 0;
  let index = from;
  for (;;) {
    while (index < text.length && count < enough && digitValue(text.charCodeAt(index)) >= 0) {
      count++;
      index++;
    }
    if (count === enough) return count;
    const end = index;
    index = afterGap(text, end);
    if (index === text.length) return TEXT_ENDS;
    if (digitValue(text.charCodeAt(index)) < 0) return count;
  }
}

/** The digits of a text in ASCII, and nothing else of it. */
export function digitsOf(text: string): string {
  let digits = '';
  for (let index = 0; index < text.length; index++) {
    const value = digitValue(text.charCodeAt(index));
    if (value >= 0) digits += value;
  }
  return digits;
}
