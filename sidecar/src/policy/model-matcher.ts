/** Model names of a rule, with `*` for any run of characters. Matching takes time linear in the name's length. */
export class ModelMatcher {
  readonly #exact: ReadonlySet<string>;
  readonly #patterns: readonly (readonly string[])[];

  constructor(models: readonly string[]) {
    this.#exact = new Set(models.filter((model) => !model.includes('*')));
    this.#patterns = models.filter((model) => model.includes('*')).map((model) => model.split('*'));
  }

  matches(model: string): boolean {
    return this.#exact.has(model) || this.#patterns.some((parts) => matchesParts(parts, model));
  }
}

/** Whether `text` begins with the first part, ends with the last, and has the others between them in order. */
function matchesParts(parts: readonly string[], text: string): boolean {
  const first = parts[0] ?? '';
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
