import { isZeroWidth } from './characters.ts';
import { type Detector, MORE, NONE } from './detector.ts';
import { startsOf } from './starts.ts';

/** RFC 5321 §4.5.3.1: characters before the @, after it, and of a label (RFC 1035 §2.3.4). */
const LOCAL_MAX = 64;
const DOMAIN_MAX = 255;
const LABEL_MAX = 63;

const AT_SIGN = 0x40;
const WIDE_AT_SIGN = 0xff20;
const DOT = 0x2e;
const HYPHEN = 0x2d;
const EQUALS = 0x3d;
/** Letters of alphabetic scripts up to here may stand in addresses (RFC 6531): later ones are written without spaces between words. */
const LETTER_LAST = 0x58f;

/** Bits by ASCII code: may stand before the @, may stand in a label. */
const LOCAL = 1;
const LABEL = 2;
const KIND = Uint8Array.from({ length: 128 }, (_, code) => {
  const character = String.fromCharCode(code);
  // Of the special characters of RFC 5322's atom not those that set an address off from what stands before it: / ? & { | } `
  const local = /[A-Za-z0-9.!#$%'*+^_~-]/.test(character) ? LOCAL : 0;
  return local | (/[A-Za-z0-9-]/.test(character) ? LABEL : 0);
});

/** `logo@2x.png` is a picture for a denser screen. */
const PICTURE = /^\d(?:\.\d)?x\.(?:avif|gif|ico|jpe?g|png|svg|webp)$/i;

/** Mail addresses with a domain name of two labels or more, the last of which can be a top-level domain. */
export const email: Detector = {
  name: 'EMAIL',
  charactersMax: LOCAL_MAX + 1 + DOMAIN_MAX + 1,
  starts: startsOf('A-Za-z0-9_', { atWordStart: true, beyondAscii: true }),
  match(text, at, complete) {
    const code = text.charCodeAt(at);
    if (
      code >= 128 &&
      (!isLetterBeyondAscii(code) || (at > 0 && isLetterBeyondAscii(text.charCodeAt(at - 1))))
    ) {
      return NONE;
    }
    const sign = endOfLocal(text, at);
    if (sign === text.length) return complete ? NONE : MORE;
    if (sign === NONE) return NONE;
    return endOfDomain(text, sign + 1, complete);
  },
  canonical: (match) =>
    Array.from(match.toLowerCase())
      .filter((character) => !isZeroWidth(character.charCodeAt(0)))
      .join(''),
};

/** Where the @ stands; the end of the text where that comes first. */
function endOfLocal(text: string, at: number): number {
  const to = Math.min(text.length, at + LOCAL_MAX + 1);
  // A bounce address names another one: bounce+jane=example.com@…
  let mayHoldEquals = false;
  for (let index = at; index < to; index++) {
    const code = text.charCodeAt(index);
    if (code === AT_SIGN || code === WIDE_AT_SIGN) return index;
    if (code === 0x2b || code === HYPHEN) mayHoldEquals = true;
    const isLocal =
      code < 128
        ? ((KIND[code] ?? 0) & LOCAL) !== 0 || (code === EQUALS && mayHoldEquals)
        : isLetterBeyondAscii(code) || isZeroWidth(code);
    if (!isLocal) return NONE;
  }
  return to === text.length ? to : NONE;
}

function endOfDomain(text: string, from: number, complete: boolean): number {
  const to = Math.min(text.length, from + DOMAIN_MAX);
  let label = from;
  let best = NONE;
  let index = from;
  for (; ; index++) {
    const code = index < to ? text.charCodeAt(index) : 0;
    if (isLabelCharacter(code) && index - label < LABEL_MAX) continue;
    if (index === text.length && !complete) return MORE;
    if (index === label || text.charCodeAt(label) === HYPHEN) break;
    if (label > from && isTopLevel(text, label, index)) best = index;
    if (code !== DOT) break;
    label = index + 1;
  }
  return best !== NONE && PICTURE.test(text.slice(from, best)) ? NONE : best;
}

function isLabelCharacter(code: number): boolean {
  return code < 128 ? ((KIND[code] ?? 0) & LABEL) !== 0 : isLetterBeyondAscii(code) || isZeroWidth(code);
}

/** Two letters at the least, and no digits but in `xn--…`. */
function isTopLevel(text: string, from: number, to: number): boolean {
  return /^(?:xn--[a-z0-9-]+|\p{L}{2,})$/iu.test(text.slice(from, to));
}

function isLetterBeyondAscii(code: number): boolean {
  return code >= 0xc0 && code <= LETTER_LAST && code !== 0xd7 && code !== 0xf7;
}
