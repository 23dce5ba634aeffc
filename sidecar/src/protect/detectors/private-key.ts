import { type Detector, MORE, NONE, type Tail } from './detector.ts';
import { startsOf } from './starts.ts';

const BEGIN = '-----BEGIN ';
const END = '-----END';
const DASHES = '-----';
/** `ENCRYPTED PRIVATE KEY`, `PGP PRIVATE KEY BLOCK` and the like. */
const LABEL_MAX = 40;
/** Where the key itself, or a header of it, has to begin: a sentence may name the line that keys begin with. */
const BODY_WITHIN = 80;
const BODY = /[A-Za-z0-9+/=]{16}|(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset|MessageID): /;

const PUTTY_BEGIN = 'PuTTY-User-Key-File-';
const PUTTY_END = 'Private-MAC:';

/**
 * Private keys from their first line to their last (RFC 7468, RFC 4880, PuTTY's files), however long; one that doesn't end takes
 * the rest of the text with it.
 */
export const privateKey: Detector = {
  name: 'PRIVATE_KEY',
  charactersMax: BEGIN.length + LABEL_MAX + DASHES.length + BODY_WITHIN,
  starts: startsOf('P\\-'),
  match(text, at, complete) {
    if (text.charCodeAt(at) !== DASHES.charCodeAt(0))
      return endOfLiteral(PUTTY_BEGIN, text, { at, complete });
    const begin = endOfLiteral(BEGIN, text, { at, complete });
    return begin < 0 ? begin : endOfFirstLine(text, begin, complete);
  },
  canonical: (match) => match.replaceAll(/\s|\\[nrt]/g, ''),
  tail: (text, at) => (text.startsWith(PUTTY_BEGIN, at) ? untilPuttyEnd : untilEnd),
};

function endOfLiteral(
  literal: string,
  text: string,
  { at, complete }: { at: number; complete: boolean },
): number {
  if (text.startsWith(literal, at)) return at + literal.length;
  const isShort = text.length - at < literal.length;
  return isShort && !complete && literal.startsWith(text.slice(at)) ? MORE : NONE;
}

function endOfFirstLine(text: string, from: number, complete: boolean): number {
  const label = /^[A-Z0-9 ]*/.exec(text.slice(from, from + LABEL_MAX))?.[0] ?? '';
  const dashes = from + label.length;
  if (dashes === text.length) return complete ? NONE : MORE;
  if (!/PRIVATE KEY(?: BLOCK)?$/.test(label)) return NONE;
  const body = endOfLiteral(DASHES, text, { at: dashes, complete });
  if (body < 0) return body;
  if (BODY.test(text.slice(body, body + BODY_WITHIN))) return body;
  return text.length - body < BODY_WITHIN && !complete ? MORE : NONE;
}

const untilEnd: Tail = {
  take(text, from, complete) {
    const end = text.indexOf(END, from);
    if (end < 0) return all(text, complete, END);
    const label = end + END.length;
    const dashes = text.slice(label, label + LABEL_MAX + DASHES.length).indexOf(DASHES);
    if (dashes >= 0) return { end: label + dashes + DASHES.length, ended: true };
    if (!complete && text.length - label < LABEL_MAX + DASHES.length) return { end, ended: false };
    return { end: label, ended: true };
  },
};

const untilPuttyEnd: Tail = {
  take(text, from, complete) {
    const end = text.indexOf(PUTTY_END, from);
    return end < 0 ? all(text, complete, PUTTY_END) : { end: end + PUTTY_END.length, ended: true };
  },
};

/** All that there is, but for what may turn out to be the beginning of the end. */
function all(text: string, complete: boolean, marker: string): { end: number; ended: boolean } {
  if (complete) return { end: text.length, ended: true };
  let waiting = Math.min(marker.length - 1, text.length);
  while (!text.endsWith(marker.slice(0, waiting))) waiting--;
  return { end: text.length - waiting, ended: false };
}
