import type { GbnfJsonSchema } from 'node-llama-cpp';

/** The most that minLength, maxLength, minItems and the like may ask for: each repetition costs grammar rules. */
const repetitionsMax = 1000;
const schemaDepthMax = 32;
const schemaNodesMax = 1000;

export type CheckedSchema =
  | { readonly ok: true; readonly schema: GbnfJsonSchema }
  | { readonly ok: false; readonly problem: string };

type JsonObject = { readonly [key: string]: unknown };

const annotations = ['$schema', '$comment', 'title', 'description', 'default', 'examples', '$defs'];
const scalarTypes = ['string', 'number', 'integer', 'boolean', 'null'];
const keywords: { readonly [type: string]: readonly string[] } = {
  object: ['properties', 'required', 'additionalProperties'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  string: ['minLength', 'maxLength', 'format'],
};
const formats = ['date', 'time', 'date-time'];

/**
 * Reads a JSON schema and refuses whatever the grammar cannot enforce, because the grammar generator would silently
 * ignore it. Enforced: type (one, or several of the scalar ones), enum and const of scalars, oneOf and anyOf (as
 * alternatives), $ref to #/$defs, object with properties (all of them are generated) or with additionalProperties alone,
 * array with items, prefixItems, minItems and maxItems, string with minLength and maxLength or a format of date, time
 * and date-time. Annotations are accepted.
 */
export function checkJsonSchema(text: string): CheckedSchema {
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch {
    return { ok: false, problem: 'must be JSON' };
  }
  try {
    const definitions = isObject(root) && isObject(root['$defs']) ? root['$defs'] : {};
    const reader = new SchemaReader(Object.keys(definitions));
    const schema = reader.read(root, '', 0);
    const $defs = Object.fromEntries(
      Object.entries(definitions).map(([name, schema]) => [name, reader.read(schema, `/$defs/${name}`, 1)]),
    );
    return { ok: true, schema: { ...schema, $defs } as unknown as GbnfJsonSchema };
  } catch (error) {
    if (error instanceof Unsupported) return { ok: false, problem: error.message };
    throw error;
  }
}

class Unsupported extends Error {}

class SchemaReader {
  readonly #definitions: readonly string[];
  #nodes = 0;

  constructor(definitions: readonly string[]) {
    this.#definitions = definitions;
  }

  read(schema: unknown, path: string, depth: number): JsonObject {
    this.#nodes += 1;
    if (depth > schemaDepthMax) throw new Unsupported(`must nest at most ${schemaDepthMax} deep`);
    if (this.#nodes > schemaNodesMax) throw new Unsupported(`must have at most ${schemaNodesMax} subschemas`);
    if (!isObject(schema)) throw new Unsupported(`${at(path)} must be an object`);
    const child = (inner: unknown, name: string) => this.read(inner, `${path}/${name}`, depth + 1);
    if ('$ref' in schema) return this.#reference(schema, path);
    if ('oneOf' in schema || 'anyOf' in schema) return alternatives(schema, path, child);
    if ('const' in schema || 'enum' in schema) return literals(schema, path);
    if (Array.isArray(schema['type'])) return scalarUnion(schema, path);
    return typed(schema, path, child);
  }

  #reference(schema: JsonObject, path: string): JsonObject {
    allowOnly(schema, ['$ref'], path);
    const name = String(schema['$ref']).replace(/^#\/\$defs\//, '');
    if (schema['$ref'] !== `#/$defs/${name}` || !this.#definitions.includes(name)) {
      throw new Unsupported(`${at(path)} must refer to a schema in #/$defs`);
    }
    return { $ref: schema['$ref'] };
  }
}

type ReadChild = (inner: unknown, name: string) => JsonObject;

function alternatives(schema: JsonObject, path: string, child: ReadChild): JsonObject {
  const keyword = 'oneOf' in schema ? 'oneOf' : 'anyOf';
  allowOnly(schema, [keyword], path);
  const list = schema[keyword];
  if (!Array.isArray(list) || list.length === 0)
    throw new Unsupported(`${at(path)} must list schemas in ${keyword}`);
  return { oneOf: list.map((inner, index) => child(inner, `${keyword}/${index}`)) };
}

function literals(schema: JsonObject, path: string): JsonObject {
  const keyword = 'const' in schema ? 'const' : 'enum';
  allowOnly(schema, [keyword, 'type'], path);
  const values: unknown = keyword === 'const' ? [schema['const']] : schema['enum'];
  if (
    !Array.isArray(values) ||
    values.length === 0 ||
    values.some((value) => typeof value === 'object' && value)
  ) {
    throw new Unsupported(`${at(path)} must have strings, numbers, booleans or null in ${keyword}`);
  }
  const { type } = schema;
  if (type !== undefined && values.some((value) => !hasType(value, type))) {
    throw new Unsupported(`${at(path)} must have values of its type in ${keyword}`);
  }
  return keyword === 'const' ? { const: schema['const'] } : { enum: values };
}

function scalarUnion(schema: JsonObject, path: string): JsonObject {
  allowOnly(schema, ['type'], path);
  const types = schema['type'] as unknown[];
  if (types.length === 0 || types.some((type) => !scalarTypes.includes(String(type)))) {
    throw new Unsupported(
      `${at(path)} may list only ${scalarTypes.join(', ')} in type; use anyOf for others`,
    );
  }
  return { type: types };
}

function typed(schema: JsonObject, path: string, child: ReadChild): JsonObject {
  const type = schema['type'];
  if (typeof type !== 'string' || !(type in keywords || scalarTypes.includes(type))) {
    throw new Unsupported(`${at(path)} must have a type of object, array, ${scalarTypes.join(', ')}`);
  }
  allowOnly(schema, ['type', ...(keywords[type] ?? [])], path);
  checkCounts(schema, path);
  if (type === 'object') return objectSchema(schema, path, child);
  if (type === 'array') return arraySchema(schema, path, child);
  if (schema['format'] !== undefined) {
    const plain = schema['minLength'] === undefined && schema['maxLength'] === undefined;
    if (!plain || !formats.includes(schema['format'] as string)) {
      throw new Unsupported(
        `${at(path)} may have a format of ${formats.join(', ')} only, without length limits`,
      );
    }
  }
  return withoutAnnotations(schema);
}

function objectSchema(schema: JsonObject, path: string, child: ReadChild): JsonObject {
  const { properties = {}, required = [], additionalProperties } = schema;
  if (!isObject(properties)) throw new Unsupported(`${at(path)} must have an object as properties`);
  const names = Object.keys(properties);
  if (!Array.isArray(required) || required.some((name) => !names.includes(name as string))) {
    throw new Unsupported(`${at(path)} must list only names from properties in required`);
  }
  if (names.length > 0 && (isObject(additionalProperties) || additionalProperties === true)) {
    // The grammar would let an additional property repeat a declared name with another type.
    throw new Unsupported(`${at(path)} must have either properties or additionalProperties`);
  }
  const rest = isObject(additionalProperties)
    ? child(additionalProperties, 'additionalProperties')
    : additionalProperties === true;
  return {
    ...withoutAnnotations(schema),
    properties: Object.fromEntries(
      names.map((name) => [name, child(properties[name], `properties/${name}`)]),
    ),
    additionalProperties: rest,
  };
}

function arraySchema(schema: JsonObject, path: string, child: ReadChild): JsonObject {
  const { items, prefixItems, maxItems } = schema;
  const read: Record<string, unknown> = { ...withoutAnnotations(schema) };
  if (items !== undefined) read['items'] = child(items, 'items');
  if (prefixItems !== undefined) {
    if (!Array.isArray(prefixItems)) throw new Unsupported(`${at(path)} must have a list as prefixItems`);
    if (typeof maxItems === 'number' && maxItems < prefixItems.length) {
      throw new Unsupported(`${at(path)} must have a maxItems of at least its prefixItems`);
    }
    read['prefixItems'] = prefixItems.map((inner, index) => child(inner, `prefixItems/${index}`));
  }
  return read;
}

function checkCounts(schema: JsonObject, path: string): void {
  for (const [low, high] of [
    ['minLength', 'maxLength'],
    ['minItems', 'maxItems'],
  ] as const) {
    for (const keyword of [low, high]) {
      const count = schema[keyword];
      if (
        count !== undefined &&
        !(Number.isInteger(count) && Number(count) >= 0 && Number(count) <= repetitionsMax)
      ) {
        throw new Unsupported(`${at(path)} must have a ${keyword} from 0 to ${repetitionsMax}`);
      }
    }
    if (Number(schema[high] ?? Infinity) < Number(schema[low] ?? 0)) {
      throw new Unsupported(`${at(path)} must have a ${high} of at least ${low}`);
    }
  }
}

function allowOnly(schema: JsonObject, allowed: readonly string[], path: string): void {
  const other = Object.keys(schema).find((key) => !allowed.includes(key) && !annotations.includes(key));
  if (other !== undefined) throw new Unsupported(`${at(path)} has ${other}, which cannot be enforced`);
}

function withoutAnnotations(schema: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(schema).filter(([key]) => !annotations.includes(key)));
}

function hasType(value: unknown, type: unknown): boolean {
  if (value === null) return type === 'null';
  return typeof value === type || (type === 'integer' && Number.isInteger(value));
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function at(path: string): string {
  return `the schema at #${path}`;
}
