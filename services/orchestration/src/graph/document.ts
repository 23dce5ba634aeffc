import {
  createFileRegistry,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonValue,
  toBinary,
} from '@bufbuild/protobuf';
import { pathToString } from '@bufbuild/protobuf/reflect';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { createValidator, type Validator } from '@bufbuild/protovalidate';
import { Graph } from '@gatehouse/contracts/orchestration';
import { parseDocument } from 'yaml';
import type { Violation } from './validation.ts';

type ReadGraphDocument =
  | { readonly ok: true; readonly graph: Graph }
  | { readonly ok: false; readonly violations: readonly Violation[] };

/** Reads graph documents: YAML in the JSON form of the Graph message. */
export type GraphDocumentReader = (yamlText: string) => ReadGraphDocument;

/**
 * Makes a reader from a descriptor set that holds the orchestration contract. A key that the contract does not have is
 * an error, every one of them is reported, and so is a value of another form or outside what the contract's rules allow.
 */
export function graphDocumentReader(descriptorSet: Uint8Array): GraphDocumentReader {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptorSet));
  const desc = registry.getMessage('gatehouse.orchestration.v1.Graph');
  const validator = createValidator({ registry });
  if (!desc) throw new Error('the descriptor set has no gatehouse.orchestration.v1.Graph');
  return (yamlText) => {
    const document = parseDocument(yamlText, { uniqueKeys: true });
    if (document.errors.length > 0) {
      return fail(document.errors.map(({ message }) => `not YAML: ${message.split('\n', 1)[0]}`));
    }
    const value = document.toJS() as JsonValue;
    const unknown = unknownKeys(desc, value, '');
    return unknown.length > 0
      ? { ok: false, violations: unknown }
      : decode(desc, value, { registry, validator });
  };
}

function decode(
  desc: DescMessage,
  value: JsonValue,
  { registry, validator }: { readonly registry: FileRegistry; readonly validator: Validator },
): ReadGraphDocument {
  try {
    const message = fromJson(desc, value, { registry });
    const { violations = [] } = validator.validate(desc, message);
    if (violations.length > 0) {
      return {
        ok: false,
        violations: violations.map(({ field, message: description }) => ({
          path: pathToString(field),
          description,
        })),
      };
    }
    return { ok: true, graph: Graph.decode(toBinary(desc, message)) };
  } catch (error) {
    return fail([error instanceof Error ? error.message : 'cannot be read']);
  }
}

function fail(descriptions: readonly string[]): ReadGraphDocument {
  return { ok: false, violations: descriptions.map((description) => ({ path: '', description })) };
}

function unknownKeys(desc: DescMessage, value: JsonValue, path: string): Violation[] {
  if (desc.typeName.startsWith('google.protobuf.')) return [];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const at = path === '' ? key : `${path}.${key}`;
    const field = desc.fields.find(({ name, jsonName }) => key === name || key === jsonName);
    if (!field) {
      const known = desc.fields.map(({ jsonName }) => jsonName).join(', ');
      return [{ path: at, description: `there is no such key; there is ${known}` }];
    }
    if (field.fieldKind === 'message') return unknownKeys(field.message, inner, at);
    if (field.fieldKind !== 'list' || field.listKind !== 'message' || !Array.isArray(inner)) return [];
    return inner.flatMap((item, index) => unknownKeys(field.message, item, `${at}[${index}]`));
  });
}
