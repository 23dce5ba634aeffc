/** One step into a value: `.key`, `[2]`, or `[*]`, which takes the rest of the path from every item of a list. */
export type Step =
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'each' };

/** `${inputs.NAME…}`, `${nodes.ID.output…}`, `${item…}` or `${index}`. */
export type Reference =
  | {
      readonly root: 'inputs' | 'nodes';
      readonly name: string;
      readonly steps: readonly Step[];
      readonly text: string;
    }
  | { readonly root: 'item' | 'index'; readonly steps: readonly Step[]; readonly text: string };

/** A reference alone keeps the type of what it refers to; a reference among other text becomes text. */
export type Template =
  | { readonly kind: 'reference'; readonly reference: Reference }
  | { readonly kind: 'text'; readonly parts: readonly (string | Reference)[] };

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: string };

const STEP = /\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\d{1,6})\]|\[(\*)\]/y;
const ROOT = /^(inputs|nodes|item|index)(?![A-Za-z0-9_-])/;

/**
 * Reads text that may hold references. `$${` stands for `${` itself.
 * Fails on a reference that is not closed or not of a known form.
 */
export function parseTemplate(text: string): Parsed<Template> {
  const parts: (string | Reference)[] = [];
  let literal = '';
  let at = 0;
  while (at < text.length) {
    if (text.startsWith('$${', at)) {
      literal += '${';
      at += 3;
    } else if (text.startsWith('${', at)) {
      const end = text.indexOf('}', at);
      if (end < 0) return { ok: false, error: `"${text.slice(at, at + 40)}" is not closed with }` };
      const reference = parseReference(text.slice(at + 2, end));
      if (!reference.ok) return reference;
      if (literal !== '') parts.push(literal);
      literal = '';
      parts.push(reference.value);
      at = end + 1;
    } else {
      const next = text.indexOf('$', at + 1);
      const to = next < 0 ? text.length : next;
      literal += text.slice(at, to);
      at = to;
    }
  }
  if (literal !== '') parts.push(literal);
  const [only] = parts;
  if (parts.length === 1 && only !== undefined && typeof only !== 'string') {
    return { ok: true, value: { kind: 'reference', reference: only } };
  }
  return { ok: true, value: { kind: 'text', parts } };
}

function parseReference(body: string): Parsed<Reference> {
  const text = `\${${body}}`;
  const root = ROOT.exec(body)?.[1];
  const expected = '${inputs.NAME}, ${nodes.ID.output}, ${item} or ${index}';
  if (root === undefined) return { ok: false, error: `${text} is no reference; expected ${expected}` };
  const steps = parseSteps(body, root.length);
  if (steps === undefined) {
    return { ok: false, error: `${text} is no reference; after the name come .key, [0] or [*]` };
  }
  if (root === 'item' || root === 'index') return { ok: true, value: { root, steps, text } };
  const [name, output, ...rest] = steps;
  if (root === 'inputs' && name?.kind === 'key') {
    return { ok: true, value: { root, name: name.key, steps: steps.slice(1), text } };
  }
  if (root === 'nodes' && name?.kind === 'key' && output?.kind === 'key' && output.key === 'output') {
    return { ok: true, value: { root, name: name.key, steps: rest, text } };
  }
  return { ok: false, error: `${text} is no reference; expected ${expected}` };
}

function parseSteps(body: string, from: number): Step[] | undefined {
  const steps: Step[] = [];
  STEP.lastIndex = from;
  let at = from;
  while (at < body.length) {
    const match = STEP.exec(body);
    if (!match) return undefined;
    const [, key, index] = match;
    if (key !== undefined) steps.push({ kind: 'key', key });
    else if (index !== undefined) steps.push({ kind: 'index', index: Number(index) });
    else steps.push({ kind: 'each' });
    at = STEP.lastIndex;
  }
  return steps;
}

/** The references that a template holds, in order. */
export function templateReferences(template: Template): readonly Reference[] {
  if (template.kind === 'reference') return [template.reference];
  return template.parts.filter((part) => typeof part !== 'string');
}
