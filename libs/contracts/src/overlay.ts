import {
  type Document,
  isMap,
  isScalar,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type YAMLMap,
} from 'yaml';
import {
  FieldRole,
  fieldRoleFromJSON,
  Sensitivity,
  sensitivityFromJSON,
} from './gen/gatehouse/policy/v1/annotations.ts';
import { nearestName } from './nearest-name.ts';

export type CostUnit = 'requests' | 'tokens';

/** What an overlay says of a method. A key that is absent leaves what the method's own options say. */
export interface MethodOverlay {
  readonly permission?: string;
  readonly costUnit?: CostUnit;
  readonly deadlineMsDefault?: number;
  readonly deadlineMsMax?: number;
  readonly requestBytesMax?: number;
  readonly responseBytesMax?: number;
  readonly idempotent?: boolean;
}

/** What an overlay says of a field. A key that is absent leaves what the field's own options say. */
interface FieldOverlay {
  readonly role?: FieldRole;
  readonly sensitivity?: Sensitivity;
}

/** Classifies descriptors whose protos are not ours to annotate. */
export interface Overlay {
  readonly fileName: string;
  /** Whether entries that the descriptor set does not have are passed over; otherwise each is a problem. */
  readonly partial: boolean;
  /** By path, `/pkg.Service/Method`. */
  readonly methods: ReadonlyMap<string, MethodOverlay>;
  /** By full name, `pkg.Message.field`. */
  readonly fields: ReadonlyMap<string, FieldOverlay>;
}

/** The shape that permissions have: `area.verb`. */
export const PERMISSION_PATTERN = /^[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)+$/;
const METHOD_PATTERN = /^\/?((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*\/[A-Za-z_]\w*)$/;
const FIELD_PATTERN = /^(?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*$/;
const DURATION_PATTERN = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/;
const MS_PER_UNIT: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const DURATION_MS_MAX = 7 * 24 * 3_600_000;
const MESSAGE_BYTES_MAX = 0xffff_ffff;

/** Turns one value of the document into what the overlay holds, or undefined when it has another form. */
interface Key {
  readonly expected: string;
  readonly read: (value: unknown) => unknown;
}

const METHOD_KEYS: Readonly<Record<string, Key & { readonly as: keyof MethodOverlay }>> = {
  permission: {
    as: 'permission',
    expected: 'a permission such as `inference.generate`',
    read: readPermission,
  },
  costUnit: { as: 'costUnit', expected: '`requests` or `tokens`', read: readCostUnit },
  deadlineDefault: {
    as: 'deadlineMsDefault',
    expected: 'a duration such as `500ms`, `5s` or `10m`, at most 168h',
    read: readDuration,
  },
  deadlineMax: {
    as: 'deadlineMsMax',
    expected: 'a duration such as `500ms`, `5s` or `10m`, at most 168h',
    read: readDuration,
  },
  requestBytesMax: {
    as: 'requestBytesMax',
    expected: 'a whole number of bytes from 1 to 4294967295',
    read: readBytes,
  },
  responseBytesMax: {
    as: 'responseBytesMax',
    expected: 'a whole number of bytes from 1 to 4294967295',
    read: readBytes,
  },
  idempotent: {
    as: 'idempotent',
    expected: '`true` or `false`',
    read: (value) => (typeof value === 'boolean' ? value : undefined),
  },
};

const FIELD_KEYS: Readonly<Record<string, Key & { readonly as: keyof FieldOverlay }>> = {
  role: { as: 'role', expected: `one of ${enumNames(FieldRole, 'FIELD_ROLE_')}`, read: readRole },
  sensitivity: {
    as: 'sensitivity',
    expected: `one of ${enumNames(Sensitivity, 'SENSITIVITY_')}`,
    read: readSensitivity,
  },
};

/**
 * Reads an overlay file. Problems are sentences that begin with `file:line:column:`, all of them at once.
 *
 * ```yaml
 * partial: false            # default
 * methods:
 *   pkg.Service/Method: { permission: area.verb, costUnit: requests, deadlineDefault: 5s, deadlineMax: 30s }
 * fields:
 *   pkg.Message.field: { role: MODEL, sensitivity: METADATA }
 * ```
 */
export function parseOverlay(text: string, fileName: string): { overlay: Overlay } | { problems: string[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const problems: string[] = [];
  const report = (offset: number, sentence: string): void => {
    const { line, col } = lines.linePos(offset);
    problems.push(`${fileName}:${line}:${col}: ${sentence}`);
  };
  for (const error of document.errors) report(error.pos[0], `not YAML: ${error.message}`);
  if (problems.length > 0) return { problems };

  const overlay = new OverlayReader(document, report).read(fileName);
  return problems.length > 0 ? { problems } : { overlay };
}

class OverlayReader {
  readonly #document: Document.Parsed;
  readonly #report: (offset: number, sentence: string) => void;

  constructor(document: Document.Parsed, report: (offset: number, sentence: string) => void) {
    this.#document = document;
    this.#report = report;
  }

  read(fileName: string): Overlay {
    let partial = false;
    const methods = new Map<string, MethodOverlay>();
    const fields = new Map<string, FieldOverlay>();
    for (const { name, value, offset } of this.#entries(this.#document.contents, 'the file', 0)) {
      if (name === 'partial') {
        const given: unknown = value?.toJS(this.#document);
        if (typeof given === 'boolean') partial = given;
        else this.#wrong('partial', given, '`true` or `false`', offset);
      } else if (name === 'methods') {
        this.#readNamed({ name, value, offset }, METHOD_PATTERN, '`pkg.Service/Method`', (key, entry) =>
          methods.set(`/${METHOD_PATTERN.exec(key)?.[1] ?? ''}`, this.#readKeys(entry, METHOD_KEYS)),
        );
      } else if (name === 'fields') {
        this.#readNamed({ name, value, offset }, FIELD_PATTERN, '`pkg.Message.field`', (key, entry) =>
          fields.set(key, this.#readKeys(entry, FIELD_KEYS)),
        );
      } else this.#unknownKey(name, ['partial', 'methods', 'fields'], offset);
    }
    return { fileName, partial, methods, fields };
  }

  /** Reads a map whose keys are names of methods or fields. */
  #readNamed(
    section: Entry,
    pattern: RegExp,
    expected: string,
    take: (key: string, entry: Entry) => void,
  ): void {
    const seen = new Set<string>();
    for (const entry of this.#entries(section.value, section.name, section.offset)) {
      const name = entry.name.replace(/^\//, '');
      if (!pattern.test(entry.name)) this.#wrong(`${section.name} key`, entry.name, expected, entry.offset);
      else if (seen.has(name)) this.#report(entry.offset, `${section.name}.${entry.name}: given twice`);
      else take(entry.name, { ...entry, name: `${section.name}.${entry.name}` });
      seen.add(name);
    }
  }

  #readKeys(
    { name, value, offset }: Entry,
    keys: Readonly<Record<string, Key & { readonly as: string }>>,
  ): Record<string, never> {
    const result: Record<string, unknown> = {};
    for (const entry of this.#entries(value, name, offset)) {
      const key = Object.hasOwn(keys, entry.name) ? keys[entry.name] : undefined;
      if (key === undefined) {
        this.#unknownKey(`${name}.${entry.name}`, Object.keys(keys), entry.offset, entry.name);
        continue;
      }
      const given: unknown = entry.value?.toJS(this.#document);
      const read = key.read(given);
      if (read === undefined)
        this.#wrong(`${name}.${entry.name}`, given, key.expected, entry.value?.range?.[0] ?? entry.offset);
      else result[key.as] = read;
    }
    return result as Record<string, never>;
  }

  /** The entries of a map; anything else is a problem. */
  *#entries(node: Node | null | undefined, what: string, offset: number): Generator<Entry> {
    if (!isMap(node)) {
      this.#wrong(what, node?.toJS(this.#document), 'a map', node?.range?.[0] ?? offset);
      return;
    }
    for (const pair of (node as YAMLMap<Node, Node | null>).items) yield entryOf(pair);
  }

  #wrong(key: string, value: unknown, expected: string, offset: number): void {
    this.#report(offset, `${key}: got ${shown(value)}, expected ${expected}`);
  }

  #unknownKey(path: string, known: readonly string[], offset: number, name = path): void {
    const nearest = nearestName(name, known);
    const hint =
      nearest === undefined ? `expected one of ${known.join(', ')}` : `did you mean \`${nearest}\`?`;
    this.#report(offset, `${path}: unknown key, ${hint}`);
  }
}

interface Entry {
  readonly name: string;
  readonly value: Node | null;
  readonly offset: number;
}

function entryOf(pair: Pair<Node, Node | null>): Entry {
  const name = isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
  return { name, value: pair.value, offset: pair.key.range?.[0] ?? 0 };
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

function readPermission(value: unknown): string | undefined {
  return typeof value === 'string' && PERMISSION_PATTERN.test(value) ? value : undefined;
}

function readCostUnit(value: unknown): CostUnit | undefined {
  return value === 'requests' || value === 'tokens' ? value : undefined;
}

function readDuration(value: unknown): number | undefined {
  const [, amount, unit] = (typeof value === 'string' && DURATION_PATTERN.exec(value)) || [];
  if (amount === undefined || unit === undefined) return undefined;
  const ms = Math.round(Number(amount) * (MS_PER_UNIT[unit] ?? Number.NaN));
  return ms >= 1 && ms <= DURATION_MS_MAX ? ms : undefined;
}

function readBytes(value: unknown): number | undefined {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MESSAGE_BYTES_MAX
    ? Number(value)
    : undefined;
}

function readRole(value: unknown): FieldRole | undefined {
  const role = fieldRoleFromJSON(`FIELD_ROLE_${String(value)}`);
  return role > 0 ? role : undefined;
}

function readSensitivity(value: unknown): Sensitivity | undefined {
  const sensitivity = sensitivityFromJSON(`SENSITIVITY_${String(value)}`);
  return sensitivity > 0 ? sensitivity : undefined;
}

/** The names of an enum without their prefix, the unspecified one left out. */
function enumNames(values: Readonly<Record<string, number>>, prefix: string): string {
  return Object.entries(values)
    .filter(([, number]) => number > 0)
    .map(([name]) => name.slice(prefix.length))
    .join(', ');
}
