/** JSON inside the strings of JSON inside the strings of JSON …: how far it is followed. */
const LAYERS_MAX = 8;
const NOT_BLANK = /[^ \t\n\r]/;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;

/** Says what takes the place of one text; null: nothing may, the whole is refused. */
export type TextChange = (text: string) => string | null;

/**
 * Changes a text by its parts where it is a JSON object, array or string: every key and value as it reads when it is decoded, so
 * that no escape hides one, and numbers as well. What is not changed stays as it is written, and the whole stays JSON: a
 * number that is changed becomes a string. Any other text is changed in one piece.
 * @returns null when a part is refused
 */
export function changeText(text: string, change: TextChange, layer = 0): string | null {
  if (!looksLikeJson(text) || !isJson(text)) return change(text);
  // Deeper layers of escapes are for hiding alone: what is not decoded is not let through.
  if (layer === LAYERS_MAX) return null;
  let out = '';
  let copied = 0;
  for (let at = 0; at < text.length; ) {
    const code = text.charCodeAt(at);
    const isString = code === QUOTE;
    if (!isString && code !== MINUS && !isDigit(code)) {
      at += 1;
      continue;
    }
    const end = isString ? stringEnd(text, at) : numberEnd(text, at);
    const token = text.slice(at, end);
    const value = isString ? (JSON.parse(token) as string) : plainNumber(token);
    const changed = isString ? changeText(value, change, layer + 1) : change(value);
    if (changed === null) return null;
    if (changed !== value) {
      out += text.slice(copied, at) + JSON.stringify(changed);
      copied = end;
    }
    at = end;
  }
  return copied === 0 ? text : out + text.slice(copied);
}

function looksLikeJson(text: string): boolean {
  const code = text.charCodeAt(0);
  if (code === 0x7b || code === 0x5b || code === QUOTE) return true;
  if (code > 0x20) return false;
  const first = NOT_BLANK.exec(text)?.[0];
  return first === '{' || first === '[' || first === '"';
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Behind the closing quote. */
function stringEnd(text: string, start: number): number {
  let at = start + 1;
  for (let code = text.charCodeAt(at); code !== QUOTE; code = text.charCodeAt(at))
    at += code === BACKSLASH ? 2 : 1;
  return at + 1;
}

function numberEnd(text: string, start: number): number {
  let at = start + 1;
  for (let code = text.charCodeAt(at); isDigit(code) || isInNumber(code); code = text.charCodeAt(at)) at += 1;
  return at;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** Of `.`, `e`, `E`, `+` and `-`. */
function isInNumber(code: number): boolean {
  return code === 0x2e || code === 0x65 || code === 0x45 || code === 0x2b || code === MINUS;
}

/** Without the exponent or the zeros behind the point that hide a whole number. */
function plainNumber(token: string): string {
  if (!/[.eE]/.test(token)) return token;
  const value = Number(token);
  return Number.isInteger(value) ? BigInt(value).toString() : token;
}
