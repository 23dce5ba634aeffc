import { isAsciiLetterOrDigit } from './characters.ts';
import { type Detector, MORE, NONE, type Starts } from './detector.ts';

/** Letters and digits of scripts that set spaces between words. */
const WORD_CHARACTER = /[\p{L}\p{M}\p{N}_]/u;
const WITHOUT_SPACES =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

/**
 * Whole words and phrases, without regard to case. Of the words in order those that begin as the text does are narrowed down character
 * by character: at most as many steps as the longest word has.
 */
export function dictionaryDetector(name: string, words: readonly string[]): Detector {
  const folded = [...new Set(words.map(fold))].sort();
  const longest = Math.max(...folded.map((word) => word.length));
  return {
    name,
    charactersMax: longest + 2,
    starts: startsOfWords(folded),
    match(text, at, complete) {
      if (isWithinWord(text, at)) return NONE;
      let low = 0;
      let high = folded.length;
      let best = NONE;
      for (let depth = 0; low < high; depth++) {
        const index = at + depth;
        // A word that ends here is the first of those that begin so.
        if (depth > 0 && folded[low]?.length === depth) {
          if (!complete && !hasCharacter(text, index)) return MORE;
          if (!isWithinWord(text, index)) best = index;
          low++;
        }
        if (index === text.length) return complete || low === high ? best : MORE;
        const character = foldCharacter(text, index);
        low = firstFrom(folded, { low, high, depth, character });
        high = firstFrom(folded, { low, high, depth, character: character + 1 });
      }
      return best;
    },
    canonical: fold,
  };
}

/** The first of the words from `low` whose character at `depth` is `character` or comes after it. */
function firstFrom(
  words: readonly string[],
  { low, high, depth, character }: { low: number; high: number; depth: number; character: number },
): number {
  let from = low;
  let to = high;
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((words[middle]?.charCodeAt(depth) ?? 0) < character) from = middle + 1;
    else to = middle;
  }
  return from;
}

function startsOfWords(folded: readonly string[]): Starts {
  const first = new Set(folded.map((word) => word.charCodeAt(0)));
  const ascii = Uint8Array.from({ length: 128 }, (_, code) =>
    Number(first.has(foldCharacter(String.fromCharCode(code), 0))),
  );
  // The sign for kelvin is an upper case k.
  const beyondAscii = Array.from(first).some((code) => code >= 128 || code === 0x6b);
  return { ascii, beyondAscii, atWordStart: false };
}

function fold(text: string): string {
  let folded = '';
  for (let index = 0; index < text.length; index++) folded += String.fromCharCode(foldCharacter(text, index));
  return folded;
}

/** Lower case where that is one character as well; any white space is a space. */
function foldCharacter(text: string, index: number): number {
  const code = text.charCodeAt(index);
  if (code < 128) {
    if (code >= 0x41 && code <= 0x5a) return code + 0x20;
    return code >= 0x09 && code <= 0x0d ? 0x20 : code;
  }
  if (code === 0xa0 || code === 0x202f) return 0x20;
  const lower = text.charAt(index).toLowerCase();
  return lower.length === 1 ? lower.charCodeAt(0) : code;
}

/** A whole character stands there, not the first half of one. */
function hasCharacter(text: string, index: number): boolean {
  if (index >= text.length) return false;
  return index + 1 < text.length || (text.charCodeAt(index) & 0xfc00) !== 0xd800;
}

/** Word characters stand on both sides. */
function isWithinWord(text: string, index: number): boolean {
  if (index === 0 || index === text.length) return false;
  const isPair = (text.charCodeAt(index - 1) & 0xfc00) === 0xdc00 && index > 1;
  return (
    isWordCharacter(text.codePointAt(index) ?? 0) &&
    isWordCharacter(text.codePointAt(index - (isPair ? 2 : 1)) ?? 0)
  );
}

function isWordCharacter(code: number): boolean {
  if (code < 128) return isAsciiLetterOrDigit(code) || code === 0x5f;
  const character = String.fromCodePoint(code);
  return WORD_CHARACTER.test(character) && !WITHOUT_SPACES.test(character);
}
