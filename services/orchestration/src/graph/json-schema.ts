import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Parsed } from './references.ts';
import { ANY, type Type } from './types.ts';

const metaSchema = new Ajv2020({ strict: false, allErrors: true, logger: false });

/**
 * Reads a JSON schema and says which type its values have.
 * Fails on text that is not JSON and on what JSON Schema 2020-12 does not allow; `$schema` itself is not followed.
 */
export function parseSchema(text: string): Parsed<Type> {
  let schema: unknown;
  try {
    schema = JSON.parse(text);
  } catch {
    return { ok: false, error: 'is not JSON' };
  }
  if (!isRecord(schema)) return { ok: false, error: 'is no JSON schema: expected an object' };
  const { $schema: _, ...judged } = schema;
  try {
    if (metaSchema.validateSchema(judged) !== true) {
      return {
        ok: false,
        error: `is no JSON schema: ${metaSchema.errorsText(metaSchema.errors, { dataVar: 'schema' })}`,
      };
    }
    return { ok: true, value: schemaType(schema) };
  } catch (error) {
    if (error instanceof RangeError) return { ok: false, error: 'is nested too deeply' };
    throw error;
  }
}

/** What a schema promises about its values. Whatever is not plain (`anyOf`, `$ref`, two types) is `any`. */
function schemaType(schema: unknown): Type {
  if (!isRecord(schema)) return ANY;
  switch (schema['type']) {
    case 'string':
    case 'boolean':
    case 'null':
      return { kind: schema['type'] };
    case 'number':
    case 'integer':
      return { kind: 'number' };
    case 'array':
      return { kind: 'list', item: schemaType(schema['items']) };
    case 'object':
      return objectType(schema);
    default:
      return ANY;
  }
}

/** A property that is not required may be missing, so nothing is said of it. */
function objectType(schema: Record<string, unknown>): Type {
  const { properties, required, additionalProperties } = schema;
  if (!isRecord(properties)) return { kind: 'object' };
  const fields = Object.entries(properties).map(
    ([key, property]) =>
      [key, Array.isArray(required) && required.includes(key) ? schemaType(property) : ANY] as const,
  );
  return { kind: 'object', fields: Object.fromEntries(fields), open: additionalProperties !== false };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
