import { builtInDetectors, compileDetectors } from '../../src/protect/detectors/compile-detectors.ts';
import type { Detector } from '../../src/protect/detectors/detector.ts';
import { PlaceholderBook } from '../../src/protect/placeholder-book.ts';
import { createRedactor, type Redactor } from '../../src/protect/redactor.ts';
import { CUSTOM_DETECTORS, type Document } from './corpus.ts';

export interface DetectorScore {
  readonly detector: string;
  readonly secrets: number;
  readonly found: number;
  readonly wrong: number;
  readonly recall: number;
  readonly precision: number;
  /** Secrets that were not found whole, and what was found wrongly, for whoever looks into it. */
  readonly missed: readonly Document[];
  readonly mistaken: readonly { readonly document: Document; readonly match: string }[];
}

/** Characters that occur in no document: they mark where a match begins and ends. */
const OPENING = '\uE000';
const CLOSING = '\uE001';

/** How well each detector, alone, does on a corpus. A secret is found when all of it lies in matches; a match of which less than half is a secret of its kind is wrong. */
export function measureDetectors(corpus: readonly Document[]): readonly DetectorScore[] {
  const names = [...builtInDetectors, ...CUSTOM_DETECTORS.map(({ name }) => name)];
  const compiled = compileDetectors(names, CUSTOM_DETECTORS);
  if ('problems' in compiled) throw new Error(JSON.stringify(compiled.problems));
  return Array.from(compiled.detectors.values(), (detector) => measure(detector, corpus));
}

function measure(detector: Detector, corpus: readonly Document[]): DetectorScore {
  const redactor = markingRedactor(detector);
  const missed: Document[] = [];
  const mistaken: { document: Document; match: string }[] = [];
  let secrets = 0;
  let right = 0;
  for (const document of corpus) {
    const secret = document.secret?.kind === detector.name ? document.secret : null;
    const covered = new Uint8Array(document.text.length);
    for (const { start, end } of matchesOf(redactor, document.text)) {
      covered.fill(1, start, end);
      const shared = secret === null ? 0 : Math.min(end, secret.end) - Math.max(start, secret.start);
      if (shared * 2 >= end - start) right++;
      else mistaken.push({ document, match: document.text.slice(start, end) });
    }
    if (secret === null) continue;
    secrets++;
    if (covered.subarray(secret.start, secret.end).includes(0)) missed.push(document);
  }
  const found = secrets - missed.length;
  const wrong = mistaken.length;
  return {
    detector: detector.name,
    secrets,
    found,
    wrong,
    recall: found / secrets,
    precision: right / (right + wrong),
    missed,
    mistaken,
  };
}

function markingRedactor(detector: Detector): Redactor {
  const mark = (_: string, match: string) => OPENING + match + CLOSING;
  const pseudonyms = { oneWay: mark, reversible: mark, reveal: () => null };
  return createRedactor([{ detectors: [detector], action: 'pseudonymise-reversibly', pseudonyms }]);
}

function matchesOf(redactor: Redactor, text: string): readonly { start: number; end: number }[] {
  const redacted = redactor.whole(text, new PlaceholderBook());
  if ('refused' in redacted) throw new Error(`refused by ${redacted.refused}`);
  const matches: { start: number; end: number }[] = [];
  let at = 0;
  let start = 0;
  for (const character of redacted.text.split('')) {
    if (character === OPENING) start = at;
    else if (character === CLOSING) matches.push({ start, end: at });
    else at++;
  }
  return matches;
}
