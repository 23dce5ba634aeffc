import { builtInDetectors, compileDetectors } from '../../src/protect/detectors/compile-detectors.ts';
import { PlaceholderBook } from '../../src/protect/placeholder-book.ts';
import { createRedactor, type Redactor } from '../../src/protect/redactor.ts';
import type { Hit } from '../../src/protect/text-window.ts';
import { CUSTOM_DETECTORS, type Document } from './corpus.ts';
import type { Random } from './random.ts';

export interface SplitResult {
  readonly splits: number;
  readonly pieces: number;
  /** Splits of which what came out differs from the redaction of the whole text. */
  readonly failures: readonly string[];
  /** Splits out of which a secret came. */
  readonly leaks: number;
  /** The most characters that were held back at once. */
  readonly heldMax: number;
}

interface Expected {
  readonly text: string;
  /** What must not come out, in ASCII letters and digits alone; null: nothing in it is secret. */
  readonly secret: string | null;
  readonly redacted: string;
  /** The redaction of the whole text shows the secret. */
  readonly leaks: boolean;
  readonly hits: string;
}

const PIECES_MAX = 8;
const FAILURES_MAX = 10;

function redactorOfAll(): Redactor {
  const names = [...builtInDetectors, ...CUSTOM_DETECTORS.map(({ name }) => name)];
  const compiled = compileDetectors(names, CUSTOM_DETECTORS);
  if ('problems' in compiled) throw new Error(JSON.stringify(compiled.problems));
  return createRedactor([{ detectors: [...compiled.detectors.values()], action: 'redact' }]);
}

/** Cuts texts at random places and holds what windows give for the pieces against the redaction of the whole. */
export function splitTexts(
  corpus: readonly Document[],
  {
    random,
    splits,
    redactor = redactorOfAll(),
  }: { readonly random: Random; readonly splits: number; readonly redactor?: Redactor },
): SplitResult {
  const expected = corpus.map((document) => expect(redactor, document));
  const failures: string[] = [];
  let pieces = 0;
  let leaks = 0;
  let heldMax = 0;
  for (let split = 0; split < splits && failures.length < FAILURES_MAX; split++) {
    const one = random.pick(expected);
    const cuts = cutsOf(random, one.text.length);
    const window = redactor.window(new PlaceholderBook());
    const counts = new Map<string, number>();
    let out = '';
    let from = 0;
    for (const cut of [...cuts, one.text.length]) {
      out += textOf(window.push(one.text.slice(from, cut)), counts);
      from = cut;
      heldMax = Math.max(heldMax, window.heldCharacters);
      pieces++;
    }
    out += textOf(window.end(), counts);
    const isSame = out === one.redacted;
    if (isSame ? one.leaks : shows(out, one.secret)) leaks++;
    if (!isSame || countsAsText(counts) !== one.hits || window.heldCharacters > 0) {
      failures.push(`${JSON.stringify(one.text)} cut at ${cuts.join()}: ${JSON.stringify(out)}`);
    }
  }
  return { splits, pieces, failures, leaks, heldMax };
}

function expect(redactor: Redactor, { text, secret }: Document): Expected {
  const counts = new Map<string, number>();
  const redacted = textOf(redactor.whole(text, new PlaceholderBook()), counts);
  const value = secret === null ? null : plain(text.slice(secret.start, secret.end));
  return { text, secret: value, redacted, leaks: shows(redacted, value), hits: countsAsText(counts) };
}

function shows(text: string, secret: string | null): boolean {
  return secret !== null && secret !== '' && plain(text).includes(secret);
}

/** Anything between one piece and one for each character. */
function cutsOf(random: Random, length: number): readonly number[] {
  if (random.chance(0.02)) return Array.from({ length }, (_, index) => index);
  const count = random.integer(1, PIECES_MAX);
  return Array.from({ length: count }, () => random.integer(0, length)).sort((a, b) => a - b);
}

function textOf(
  result: { readonly text: string; readonly hits: readonly Hit[] } | { readonly refused: string },
  counts: Map<string, number>,
): string {
  if ('refused' in result) throw new Error(`refused by ${result.refused}`);
  for (const { detector, count } of result.hits) counts.set(detector, (counts.get(detector) ?? 0) + count);
  return result.text;
}

function countsAsText(counts: ReadonlyMap<string, number>): string {
  return [...counts]
    .map(([detector, count]) => `${detector} ${count}`)
    .sort()
    .join();
}

function plain(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9]/g, '');
}
