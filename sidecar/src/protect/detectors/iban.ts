import { countrySpecs } from 'ibantools';
import {
  afterGap,
  digitValue,
  GAP_CHARACTERS_MAX,
  isAsciiLetter,
  isAsciiLetterOrDigit,
} from './characters.ts';
import { type Detector, MORE, NONE } from './detector.ts';
import { startsOf } from './starts.ts';

/**
 * ISO 13616: characters of the whole by country. The library's forms of what follows are narrower than the registry's for some
 * countries and are not asked for.
 */
const LENGTHS = new Map<string, number>();
for (const [country, { chars }] of Object.entries(countrySpecs)) {
  if (chars != null) LENGTHS.set(country, chars);
}

const CHARACTERS_MAX = Math.max(...LENGTHS.values());
const COUNTRY_AND_CHECK = 4;

/** International bank account numbers: the country's length and the check of ISO 7064 (mod 97). */
export const iban: Detector = {
  name: 'IBAN',
  charactersMax: CHARACTERS_MAX * (1 + GAP_CHARACTERS_MAX) + 1,
  starts: startsOf('A-Za-z', { atWordStart: true }),
  match(text, at, complete) {
    if (at + 1 < text.length && !isAsciiLetter(text.charCodeAt(at + 1))) return NONE;
    if (text.length < at + COUNTRY_AND_CHECK) {
      const isPossible = at + 2 >= text.length || digitValue(text.charCodeAt(at + 2)) >= 0;
      return isPossible && !complete ? MORE : NONE;
    }
    if (digitValue(text.charCodeAt(at + 2)) < 0 || digitValue(text.charCodeAt(at + 3)) < 0) return NONE;
    const length = LENGTHS.get(text.slice(at, at + 2).toUpperCase());
    return length === undefined ? NONE : endOf(length, text, { at, complete });
  },
  canonical: (match) => compact(match),
};

function endOf(length: number, text: string, { at, complete }: { at: number; complete: boolean }): number {
  let index = at;
  for (let count = 1; ; count++) {
    index++;
    if (index === text.length) {
      if (count < length || !complete) return complete ? NONE : MORE;
      break;
    }
    if (count === length) break;
    // A gap stands behind the check digits at the earliest.
    if (count >= COUNTRY_AND_CHECK) index = afterGap(text, index);
    if (index === text.length) return complete ? NONE : MORE;
    if (!isLetterOrDigit(text.charCodeAt(index))) return NONE;
  }
  if (index < text.length && isLetterOrDigit(text.charCodeAt(index))) return NONE;
  const account = compact(text.slice(at, index));
  return checks(account) ? index : NONE;
}

function isLetterOrDigit(code: number): boolean {
  return isAsciiLetterOrDigit(code) || digitValue(code) >= 0;
}

/** Without gaps, in upper case and with ASCII digits. */
function compact(match: string): string {
  let compacted = '';
  for (let index = 0; index < match.length; index++) {
    const code = match.charCodeAt(index);
    const digit = digitValue(code);
    if (digit >= 0) compacted += digit;
    else if (isAsciiLetter(code)) compacted += match.charAt(index).toUpperCase();
  }
  return compacted;
}

/** ISO 7064 MOD 97-10: letters count 10 to 35, the first four characters come last, the remainder is 1. */
function checks(account: string): boolean {
  let remainder = 0;
  for (let place = 0; place < account.length; place++) {
    const code = account.charCodeAt((place + COUNTRY_AND_CHECK) % account.length);
    const value = code <= 0x39 ? code - 0x30 : code - 0x37;
    remainder = (value > 9 ? remainder * 100 + value : remainder * 10 + value) % 97;
  }
  return remainder === 1;
}
