import { API_KEY_FORMS, type ApiKeyForm } from './api-key-forms.ts';
import { isAsciiLetter, isAsciiLetterOrDigit } from './characters.ts';
import { contextBefore } from './context.ts';
import { type Detector, MORE, NONE, type Tail } from './detector.ts';
import { startsOf } from './starts.ts';

/** A token that nothing but its look and what stands before it shows: `api_key = "…"`. */
const RANDOM_CHARACTERS_MIN = 20;
/** How much of it is looked at. */
const RANDOM_CHARACTERS_MAX = 64;
/** JSON Web Tokens (RFC 7519): of the first of three parts. */
const JWT_HEADER_MAX = 240;
const JWT_PAYLOAD_MIN = 10;

const DOT = 0x2e;
/** Changes between lower case, upper case and digits per character; random Base62 has 0.6, hexadecimal 0.5, Base32 0.3. */
const CHANGE_RATIO_MIN = 0.15;
const CHANGE_RATIO_WITHOUT_DIGITS_MIN = 0.4;

/** What a key is called, and what may stand between that and the key. */
const NAMED =
  /(?:api[\s_-]?key|access[\s_-]?key|secret|token|passw(?:or)?d|passphrase|credentials?|auth(?:orization)?|bearer|private[\s_-]?key|client[\s_-]?id|\bkey)(?:[\s_-]?(?:id|key|value))?["'`\])]{0,2}[\s=:>]{0,4}(?:\b(?:is|was|are)\b\s?)?[:\s]{0,2}["'`(]{0,2}(?:(?:bearer|basic|token)\s)?["'`]?$/i;

const FORMS_BY_FIRST = Map.groupBy(API_KEY_FORMS, ({ prefix }) => prefix.charCodeAt(0));
const FORM_CHARACTERS_MAX = Math.max(...API_KEY_FORMS.map(({ prefix, length }) => prefix.length + length));
const JWT_CHARACTERS_MAX = JWT_HEADER_MAX + 1 + JWT_PAYLOAD_MIN;

/**
 * Keys and tokens: those that vendors made to be told by their prefix, JSON Web Tokens, and random-looking strings where the text
 * before names a key, token, secret or password.
 */
export const apiKey: Detector = {
  name: 'API_KEY',
  charactersMax: Math.max(FORM_CHARACTERS_MAX, JWT_CHARACTERS_MAX, RANDOM_CHARACTERS_MAX) + 1,
  starts: startsOf('A-Za-z0-9', { atWordStart: true }),
  match(text, at, complete) {
    let best = NONE;
    for (const form of FORMS_BY_FIRST.get(text.charCodeAt(at)) ?? []) {
      const end = endOfForm(form, text, { at, complete });
      if (end === MORE) return MORE;
      if (end > best) best = end;
    }
    if (best !== NONE) return best;
    const token = endOfWebToken(text, at, complete);
    return token === NONE ? endOfRandom(text, at, complete) : token;
  },
  tail: () => restOfToken,
};

function endOfForm(
  form: ApiKeyForm,
  text: string,
  { at, complete }: { at: number; complete: boolean },
): number {
  const { prefix, length, isOpen, alphabet } = form;
  const body = at + prefix.length;
  if (text.length < body) {
    return !complete && prefix.startsWith(text.slice(at)) ? MORE : NONE;
  }
  if (!text.startsWith(prefix, at)) return NONE;
  const end = body + length;
  for (let index = body; index < end; index++) {
    if (index >= text.length) return complete ? NONE : MORE;
    if (!alphabet.test(text.charAt(index))) return NONE;
  }
  if (isOpen) return end;
  if (end === text.length) return complete ? end : MORE;
  return isAsciiLetterOrDigit(text.charCodeAt(end)) ? NONE : end;
}

/** `eyJ…` is Base64 of `{"`, with which the header of every token begins. */
function endOfWebToken(text: string, at: number, complete: boolean): number {
  if (!text.startsWith('eyJ', at)) {
    return !complete && text.length - at < 3 && 'eyJ'.startsWith(text.slice(at)) ? MORE : NONE;
  }
  let index = at;
  while (index < text.length && index - at < JWT_HEADER_MAX && isUrlSafe(text.charCodeAt(index))) index++;
  if (index === text.length) return complete ? NONE : MORE;
  if (text.charCodeAt(index) !== DOT) return NONE;
  const end = index + 1 + JWT_PAYLOAD_MIN;
  for (index++; index < end; index++) {
    if (index >= text.length) return complete ? NONE : MORE;
    if (!isUrlSafe(text.charCodeAt(index))) return NONE;
  }
  return end;
}

function endOfRandom(text: string, at: number, complete: boolean): number {
  const to = Math.min(text.length, at + RANDOM_CHARACTERS_MAX);
  let index = at;
  while (index < to && isTokenCharacter(text.charCodeAt(index))) index++;
  if (index === text.length && index < at + RANDOM_CHARACTERS_MAX && !complete) return MORE;
  if (index - at < RANDOM_CHARACTERS_MIN) return NONE;
  return looksRandom(text, at, index) && NAMED.test(contextBefore(text, at)) ? index : NONE;
}

/** Letters and digits, or cases, change often: in words and names joined by hyphens they don't. */
function looksRandom(text: string, from: number, to: number): boolean {
  let digits = 0;
  let letters = 0;
  let changes = 0;
  let kindBefore = -1;
  for (let index = from; index < to; index++) {
    const code = text.charCodeAt(index);
    const isLetter = isAsciiLetter(code);
    const kind = isLetter ? code & 0x20 : isAsciiLetterOrDigit(code) ? 1 : -1;
    if (isLetter) letters++;
    else if (kind === 1) digits++;
    if (kind >= 0 && kindBefore >= 0 && kind !== kindBefore) changes++;
    kindBefore = kind;
  }
  const changeRatio = changes / (to - from);
  return letters > 0 && changeRatio >= (digits > 0 ? CHANGE_RATIO_MIN : CHANGE_RATIO_WITHOUT_DIGITS_MIN);
}

/** A token goes on as long as its characters do; a dot belongs to it where more of them follow. */
const restOfToken: Tail = {
  take(text, from, complete) {
    let index = from;
    for (; index < text.length; index++) {
      const code = text.charCodeAt(index);
      if (isTokenCharacter(code) && code !== DOT) continue;
      if (code !== DOT) return { end: index, ended: true };
      if (index + 1 === text.length) return { end: index, ended: complete };
      if (!isUrlSafe(text.charCodeAt(index + 1))) return { end: index, ended: true };
    }
    return { end: index, ended: complete };
  },
};

function isUrlSafe(code: number): boolean {
  return isAsciiLetterOrDigit(code) || code === 0x2d || code === 0x5f;
}

/** Also what Base64 has: + / = and the dot between parts. */
function isTokenCharacter(code: number): boolean {
  return isUrlSafe(code) || code === 0x2b || code === 0x2f || code === 0x3d || code === DOT || code === 0x7e;
}
