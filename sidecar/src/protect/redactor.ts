import type { Detector } from './detectors/detector.ts';
import type { PlaceholderBook } from './placeholder-book.ts';
import type { Pseudonyms } from './pseudonyms.ts';
import { RedactionTable, type Treatment } from './redaction-table.ts';
import { type Redacted, type Refused, TextWindow } from './text-window.ts';

/** What becomes of what some detectors find. */
export type RedactionRule = { readonly detectors: readonly Detector[] } & (
  | { readonly action: 'refuse' | 'redact' | 'record' }
  | { readonly action: 'pseudonymise' | 'pseudonymise-reversibly'; readonly pseudonyms: Pseudonyms }
);

/** Made once for the rules that concern some fields, and used for every call. */
export interface Redactor {
  /** The most characters that a window holds back. */
  readonly heldCharactersMax: number;
  /** All of a text. */
  whole(text: string, book: PlaceholderBook): Redacted | Refused;
  /** A text that comes in pieces. */
  window(book: PlaceholderBook): TextWindow;
}

/** Where rules disagree about a detector, the first of these holds. */
const STRICTEST_FIRST = ['refuse', 'redact', 'pseudonymise', 'pseudonymise-reversibly', 'record'] as const;

export function createRedactor(rules: readonly RedactionRule[]): Redactor {
  const treatments = new Map<string, Treatment>();
  for (const action of STRICTEST_FIRST) {
    for (const rule of rules.filter((one) => one.action === action)) {
      for (const detector of rule.detectors) {
        if (!treatments.has(detector.name)) treatments.set(detector.name, treatmentOf(detector, rule));
      }
    }
  }
  const ordered = [...treatments.values()];
  const table = new RedactionTable(ordered);
  return {
    heldCharactersMax: table.recordsOnly
      ? 0
      : Math.max(0, ...ordered.map(({ detector }) => detector.charactersMax)),
    whole: (text, book) => new TextWindow(table, book).whole(text),
    window: (book) => new TextWindow(table, book),
  };
}

function treatmentOf(detector: Detector, rule: RedactionRule): Treatment {
  const { name, canonical = (match) => match } = detector;
  switch (rule.action) {
    case 'refuse':
    case 'record':
      return { detector, action: rule.action, replace: (match) => match };
    case 'redact':
      return {
        detector,
        action: 'redact',
        replace: (match, book) => book.placeholder(name, canonical(match)),
      };
    case 'pseudonymise': {
      const { pseudonyms } = rule;
      return { detector, action: 'redact', replace: (match) => pseudonyms.oneWay(name, canonical(match)) };
    }
    case 'pseudonymise-reversibly': {
      const { pseudonyms } = rule;
      return { detector, action: 'redact', replace: (match) => pseudonyms.reversible(name, match) };
    }
  }
}
