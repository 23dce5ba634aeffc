import {
  countDigits,
  digitsOf,
  digitValue,
  isSeparator,
  isTie,
  isTiedBefore,
  TEXT_ENDS,
} from './characters.ts';
import { contextBefore } from './context.ts';
import { type Detector, MORE, NONE } from './detector.ts';
import { isInternationalNumber, PHONE_DIGITS_MAX } from './numbering-plans.ts';
import { startsOf } from './starts.ts';

const PHONE_DIGITS_MIN = 7;
const GAP_MAX = 4;
const PLUS = 0x2b;
const WIDE_PLUS = 0xff0b;
const OPENING = 0x28;
const CLOSING = 0x29;
const SLASH = 0x2f;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** What makes digits in no international form, and in none of North America's, a phone number. */
const NAMED =
  /\b(?:tel(?:e(?:phone|fon|fono))?|phone|mobil(?:e|fon)?|handy|cell(?:phone)?|call(?:ing)?|fax|whatsapp|sms|text|dial|hotline|ring|rufnummer)\b[^\p{L}\p{N}]{0,4}(?:(?:number|no|nr|me|us|her|him|them|line)\b[^\p{L}\p{N}]{0,4})?(?:(?:is|at|on|to|under)\b[^\p{L}\p{N}]{0,4})?$/iu;

/** Digits in groups, as they stand in a text. */
interface Run {
  readonly digits: string;
  readonly groups: readonly Group[];
}

interface Group {
  /** Digits from the beginning of the run to the end of the group. */
  readonly count: number;
  readonly end: number;
  /** The next group follows after a dash or a dot alone. */
  readonly isTied: boolean;
}

/**
 * Phone numbers: international ones (`+` or `00`, checked against the country's numbering plan), North American ones in their usual
 * groups, and others where the text before says that one follows.
 */
export const phone: Detector = {
  name: 'PHONE',
  charactersMax: 1 + (PHONE_DIGITS_MAX + 1) * (GAP_MAX + 1) + 1,
  starts: startsOf('0-9+(', { beyondAscii: true, atWordStart: true }),
  match(text, at, complete) {
    const first = text.charCodeAt(at);
    const isPlus = first === PLUS || first === WIDE_PLUS;
    const from = isPlus || first === OPENING ? at + 1 : at;
    if (from === text.length) return complete ? NONE : MORE;
    if (digitValue(text.charCodeAt(from)) < 0 || (!isPlus && isWithinIdentifier(text, at))) return NONE;
    const count = countDigits(text, { from, enough: PHONE_DIGITS_MAX + 1, afterGap: afterPhoneGap });
    if (count === TEXT_ENDS && !complete) return MORE;
    if (count !== TEXT_ENDS && count < PHONE_DIGITS_MIN) return NONE;
    const run = readRun(text, from, complete);
    if (run === null) return MORE;
    if (isPlus) return international(run, 0);
    return run.digits.length < PHONE_DIGITS_MIN ? NONE : national(run, text, at);
  },
  canonical: (match) => digitsOf(match.replace('(0)', '')),
};

/** `12-555…`, `$555…`, `#555…` */
function isWithinIdentifier(text: string, at: number): boolean {
  if (isTiedBefore(text, at)) return !NAMED.test(contextBefore(text, at));
  return at > 0 && /[#$€£¥]/.test(text.charAt(at - 1));
}

/** null: more text is needed. */
function readRun(text: string, from: number, complete: boolean): Run | null {
  const groups: Group[] = [];
  let digits = '';
  let index = from;
  for (;;) {
    let value = index < text.length ? digitValue(text.charCodeAt(index)) : -1;
    while (value >= 0 && digits.length <= PHONE_DIGITS_MAX) {
      digits += value;
      index++;
      value = index < text.length ? digitValue(text.charCodeAt(index)) : -1;
    }
    if (digits.length > PHONE_DIGITS_MAX) return { digits, groups };
    const end = index;
    index = afterPhoneGap(text, end);
    if (index === text.length && !complete) return null;
    // Digits that run into a word belong to it, but for an extension: `x12`.
    if (index === end && index < text.length && /[A-WYZa-wyz_]/.test(text.charAt(index)))
      return { digits, groups };
    const goesOn = index < text.length && digitValue(text.charCodeAt(index)) >= 0;
    groups.push({
      count: digits.length,
      end,
      isTied: goesOn && index === end + 1 && isTie(text.charCodeAt(end)),
    });
    if (!goesOn) return { digits, groups };
  }
}

function afterPhoneGap(text: string, from: number): number {
  const to = Math.min(text.length, from + GAP_MAX);
  let index = from;
  while (index < to && isPhoneGap(text.charCodeAt(index))) index++;
  return index;
}

/** Separators but line ends, and what stands around an area code. */
function isPhoneGap(code: number): boolean {
  if (code === OPENING || code === CLOSING || code === SLASH) return true;
  return code !== LINE_FEED && code !== CARRIAGE_RETURN && isSeparator(code);
}

/** The end of the longest number of a numbering plan, after so many digits of a prefix. */
function international({ digits, groups }: Run, prefix: number): number {
  // The 0 that is dialled within a country is written as well, in brackets or not: +44 (0)20 …
  const trunk = groups[0]?.count ?? 0;
  const hasTrunk = digits.charAt(trunk) === '0' && groups[1]?.count === trunk + 1;
  for (const { count, end } of groups.toReversed()) {
    if (count - prefix < PHONE_DIGITS_MIN) return NONE;
    if (isInternationalNumber(digits.slice(prefix, count))) return end;
    if (hasTrunk && isInternationalNumber(digits.slice(prefix, trunk) + digits.slice(trunk + 1, count)))
      return end;
  }
  return NONE;
}

function national(run: Run, text: string, at: number): number {
  const { digits, groups } = run;
  const dialled = ['00', '011'].find((prefix) => digits.startsWith(prefix)) ?? '';
  if (dialled !== '' && (groups[0]?.count ?? 0) >= dialled.length) {
    const end = international(run, dialled.length);
    if (end !== NONE) return end;
  }
  const american = northAmerican(run);
  if (american !== NONE) return american;
  const longest = groups.at(-1);
  if (longest === undefined || longest.count < PHONE_DIGITS_MIN) return NONE;
  return NAMED.test(contextBefore(text, at)) ? longest.end : NONE;
}

/** 3-3-4 digits, perhaps after a 1: neither area nor exchange begins with 0 or 1 or ends in 11 (NANP). */
function northAmerican({ digits, groups }: Run): number {
  const first = digits.startsWith('1') && groups[0]?.count === 1 ? 1 : 0;
  const last = groups[first + 2];
  if (last === undefined || last.isTied || last.count !== first + 10) return NONE;
  if (groups[first]?.count !== first + 3 || groups[first + 1]?.count !== first + 6) return NONE;
  return /^(?:[2-9](?!11)\d\d){2}/.test(digits.slice(first)) ? last.end : NONE;
}
