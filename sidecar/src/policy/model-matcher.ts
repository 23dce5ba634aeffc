import { splitModel } from './model-name.ts';

interface ModelPattern {
  readonly name: TextPattern;
  /** Null: every version, and none. */
  readonly version: TextPattern | null;
}

/** Text with `*` for any run of characters, cut at the stars. */
type TextPattern = readonly string[];

/**
 * Model names of a rule, with `*` for any run of characters. `name@version` speaks of that version; a name alone of every
 * version. Matching takes time linear in the name's length.
 */
export class ModelMatcher {
  /** Names without stars and versions: one look-up. */
  readonly #exact: ReadonlySet<string>;
  readonly #patterns: readonly ModelPattern[];
  /** The last question and its answer: callers ask for few models. */
  #asked = '';
  #answer: boolean | null = null;

  constructor(models: readonly string[]) {
    const isExact = (model: string): boolean => !model.includes('*') && !model.includes('@');
    this.#exact = new Set(models.filter(isExact));
    this.#patterns = models.filter((model) => !isExact(model)).map(toPattern);
  }

  /** @param model `name` or `name@version` */
  matches(model: string): boolean {
    if (this.#answer === null || model !== this.#asked) {
      this.#answer = this.#find(model);
      this.#asked = model;
    }
    return this.#answer;
  }

  #find(model: string): boolean {
    const { name, version } = splitModel(model);
    if (this.#exact.has(name)) return true;
    return this.#patterns.some(
      (pattern) =>
        matchesText(pattern.name, name) &&
        (pattern.version === null || (version !== null && matchesText(pattern.version, version))),
    );
  }
}

/** Whether all that one entry of a rule matches is matched by another. May say no where it is so; never yes where not. */
export function coversModel(broad: string, narrow: string): boolean {
  const [one, other] = [toPattern(broad), toPattern(narrow)];
  if (!coversText(one.name, other.name)) return false;
  return one.version === null || (other.version !== null && coversText(one.version, other.version));
}

function toPattern(text: string): ModelPattern {
  const { name, version } = splitModel(text);
  return { name: name.split('*'), version: version === null ? null : version.split('*') };
}

/** A star of the narrow text is taken for a character that no other text has: only a star of the broad one matches it. */
function coversText(broad: TextPattern, narrow: TextPattern): boolean {
  return matchesText(broad, narrow.join('\0'));
}

/** Whether `text` begins with the first part, ends with the last, and has the others between them in order. */
function matchesText(parts: TextPattern, text: string): boolean {
  const first = parts[0] ?? '';
  if (parts.length === 1) return text === first;
  const last = parts.at(-1) ?? '';
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last))
    return false;
  const end = text.length - last.length;
  let position = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = text.indexOf(part, position);
    if (found < 0 || found + part.length > end) return false;
    position = found + part.length;
  }
  return true;
}
