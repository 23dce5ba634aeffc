import { isMap, isNode, isPair, LineCounter, parseDocument, type Document as YamlDocument } from 'yaml';
import type { core, ZodType } from 'zod';

/** Where in a file something stands; both count from 1. */
export type DocumentPlace = { readonly line: number; readonly column: number };

/** One thing that is wrong with a document. */
export type DocumentProblem = DocumentPlace & {
  readonly file: string;
  /** The key, as `upstreams[0].endpoints`; empty for the document as a whole. */
  readonly key: string;
  /** What was found and what was expected, without the key. */
  readonly message: string;
};

/** What a document holds, for checks that a schema can't make. */
export type DocumentContent = {
  /** As it was written, whether it fits the schema or not. */
  readonly input: unknown;
  readonly placeOf: (path: readonly PropertyKey[]) => DocumentPlace;
  /** A problem of such a check. @param expected begins with `expected`; @param found what stands there */
  readonly problemAt: (path: readonly PropertyKey[], expected: string, found: unknown) => DocumentProblem;
};

export type ReadDocument<T> =
  | (DocumentContent & { readonly value: T })
  /** `content` is there unless the text is not YAML. */
  | { readonly problems: readonly DocumentProblem[]; readonly content?: DocumentContent };

/** Values longer than this are cut in messages. */
const SHOWN_CHARACTERS_MAX = 60;

/**
 * Reads a YAML document (JSON is YAML) against a schema. Every problem is reported, each with its place, its key, the
 * value found and the form expected.
 * @returns the parsed value with a function that finds the place of a key, for checks that a schema can't make
 */
export function readDocument<T>(schema: ZodType<T>, text: string, file: string): ReadDocument<T> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const placeAt = (offset: number): DocumentPlace => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  if (document.errors.length > 0) {
    return {
      problems: document.errors.map((error) => ({
        file,
        ...placeAt(error.pos[0]),
        key: '',
        message: `not YAML: ${error.message}`,
      })),
    };
  }

  const placeOf = (path: readonly PropertyKey[]): DocumentPlace => placeAt(offsetOf(document, path));
  const input: unknown = document.toJS();
  const parsed = schema.safeParse(input ?? {}, { reportInput: true });
  const problemAt = (path: readonly PropertyKey[], expected: string, found: unknown): DocumentProblem => ({
    file,
    ...placeOf(path),
    key: keyOf(path),
    message: `got ${shown(found)}, ${expected}`,
  });
  const content = { input, placeOf, problemAt };
  if (parsed.success) return { value: parsed.data, ...content };
  return {
    content,
    problems: parsed.error.issues
      .flatMap((issue) => problemsOf(issue))
      .map(({ path, message }) => ({
        file,
        ...placeOf(path),
        key: keyOf(path),
        message,
      })),
  };
}

/** One line for people: `file:line:column: key: what was found, what was expected`. */
export function formatProblem(problem: DocumentProblem): string {
  const key = problem.key === '' ? '' : `${problem.key}: `;
  return `${problem.file}:${problem.line}:${problem.column}: ${key}${problem.message}`;
}

type FlatProblem = { readonly path: readonly PropertyKey[]; readonly message: string };

function problemsOf(issue: core.$ZodIssue): FlatProblem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...issue.path, key], message: 'unknown key' }));
  }
  if (issue.code === 'invalid_key') {
    return [{ path: issue.path, message: issue.issues[0]?.message ?? 'unknown key' }];
  }
  if (issue.message.startsWith('expected') && issue.input !== undefined) {
    return [{ path: issue.path, message: `got ${shown(issue.input)}, ${issue.message}` }];
  }
  if (issue.code === 'invalid_type' && issue.input === undefined) {
    return [{ path: issue.path, message: `missing, expected ${expectedType(issue.expected)}` }];
  }
  if (issue.code === 'invalid_type') {
    return [
      { path: issue.path, message: `got ${shown(issue.input)}, expected ${expectedType(issue.expected)}` },
    ];
  }
  return [{ path: issue.path, message: `got ${shown(issue.input)}, ${issue.message}` }];
}

function expectedType(type: string): string {
  const names: Record<string, string> = {
    object: 'a mapping',
    record: 'a mapping',
    array: 'a list',
    string: 'text',
    number: 'a number',
    int: 'a whole number',
    boolean: 'true or false',
  };
  return names[type] ?? type;
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}…` : text;
}

function keyOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (key, part) =>
      typeof part === 'number' ? `${key}[${part}]` : key === '' ? String(part) : `${key}.${String(part)}`,
    '',
  );
}

/** The offset of the deepest part of `path` that the document has. */
function offsetOf(document: YamlDocument.Parsed, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length--) {
    const parent: unknown = document.getIn(path.slice(0, length - 1), true);
    const last = path[length - 1];
    if (isMap(parent)) {
      const pair = parent.items.find((item) => isPair(item) && String(item.key) === String(last));
      if (pair && isNode(pair.key) && pair.key.range) return pair.key.range[0];
    }
    const node: unknown = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return document.contents?.range[0] ?? 0;
}
