import type { Reference, Step, Template } from '../graph/references.ts';
import { isJsonList, type Json } from '../graph/types.ts';
import { limitReached, valueUnfit } from './failures.ts';

/** What the nodes of one list can refer to. */
export interface Scope {
  readonly inputs: ReadonlyMap<string, Json>;
  /** Outputs of this list's nodes, filled as they end. */
  readonly outputs: Map<string, Json>;
  /** The scope of the list around this one. */
  readonly outer: Scope | undefined;
  /** Inside a map: the item and its place. */
  readonly item: { readonly value: Json; readonly index: number } | undefined;
}

/** The scope of a list inside a node. */
export function innerScope(outer: Scope, item: Scope['item'] = outer.item): Scope {
  return { inputs: outer.inputs, outputs: new Map(), outer, item };
}

/** A node's output, looked for from the inside out. Throws when it has not run: validation does not let that happen. */
export function outputOf(id: string, scope: Scope): Json {
  for (let at: Scope | undefined = scope; at; at = at.outer) {
    const output = at.outputs.get(id);
    if (output !== undefined) return output;
  }
  throw new Error('a node was referred to before it had run');
}

/**
 * The value of a template: a reference alone gives what it refers to; text gives text.
 * @throws RpcError FAILED_PRECONDITION for what is not there, RESOURCE_EXHAUSTED for text over `textBytesMax`
 */
export function valueOf(template: Template, scope: Scope, textBytesMax: number): Json {
  if (template.kind === 'reference') return resolve(template.reference, scope);
  let text = '';
  let bytes = 0;
  for (const part of template.parts) {
    const piece = typeof part === 'string' ? part : asText(resolve(part, scope));
    bytes += Buffer.byteLength(piece);
    if (bytes > textBytesMax) {
      throw limitReached('textBytesMax', textBytesMax, `A text has more than ${textBytesMax} bytes.`);
    }
    text += piece;
  }
  return text;
}

/** As valueOf, where only text will do. */
export function textOf(template: Template, scope: Scope, textBytesMax: number): string {
  const value = valueOf(template, scope, textBytesMax);
  if (typeof value !== 'string') throw valueUnfit(`${nameOf(template)} is not text.`);
  if (Buffer.byteLength(value) > textBytesMax) {
    throw limitReached('textBytesMax', textBytesMax, `A text has more than ${textBytesMax} bytes.`);
  }
  return value;
}

/** As valueOf, where only a list will do. */
export function listOf(template: Template, scope: Scope, textBytesMax: number): readonly Json[] {
  const value = valueOf(template, scope, textBytesMax);
  if (!isJsonList(value)) throw valueUnfit(`${nameOf(template)} is not a list.`);
  return value;
}

/** As listOf, where every item has to be text. */
export function textsOf(template: Template, scope: Scope, textBytesMax: number): readonly string[] {
  const list = listOf(template, scope, textBytesMax);
  const texts = list.filter((item) => typeof item === 'string');
  if (texts.length < list.length) throw valueUnfit(`${nameOf(template)} is not a list of texts.`);
  return texts;
}

function nameOf(template: Template): string {
  return template.kind === 'reference' ? template.reference.text : 'The text';
}

/** Text as it is; a list as one numbered line per item; null as nothing; all else as JSON. */
function asText(value: Json): string {
  if (value === null) return '';
  if (typeof value === 'string') return value;
  if (!isJsonList(value)) return JSON.stringify(value);
  return value
    .map((item, at) => `[${at + 1}] ${isJsonList(item) ? JSON.stringify(item) : asText(item)}`)
    .join('\n');
}

function resolve(reference: Reference, scope: Scope): Json {
  return stepInto(rootOf(reference, scope), reference.steps, reference.text);
}

function rootOf(reference: Reference, scope: Scope): Json {
  switch (reference.root) {
    case 'inputs':
      return scope.inputs.get(reference.name) ?? null;
    case 'nodes':
      return outputOf(reference.name, scope);
    case 'item':
      return scope.item?.value ?? null;
    case 'index':
      return scope.item?.index ?? null;
  }
}

function stepInto(value: Json, steps: readonly Step[], text: string): Json {
  const [step, ...rest] = steps;
  if (!step) return value;
  if (step.kind === 'key') {
    if (typeof value !== 'object' || value === null || isJsonList(value) || !Object.hasOwn(value, step.key)) {
      throw valueUnfit(`${text}: there is no .${step.key}.`);
    }
    return stepInto((value as Readonly<Record<string, Json>>)[step.key] ?? null, rest, text);
  }
  if (!isJsonList(value)) throw valueUnfit(`${text}: there is no list.`);
  if (step.kind === 'each') return value.map((item) => stepInto(item, rest, text));
  const item = value[step.index];
  if (item === undefined) throw valueUnfit(`${text}: the list has no item ${step.index}.`);
  return stepInto(item, rest, text);
}
