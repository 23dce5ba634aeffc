import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  createFileRegistry,
  type DescMessage,
  type DescMethod,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonValue,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { nearestName } from '@gatehouse/contracts';
import type { MethodDefinition } from '@grpc/grpc-js';
import { CommandError } from './command-error.ts';

/** A method of the contracts whose messages go in and come out as JSON (protobuf's JSON mapping). */
export type CatalogMethod = {
  /** `pkg.Service/Method` */
  readonly name: string;
  /** `pkg.Service` */
  readonly service: string;
  readonly definition: MethodDefinition<JsonValue, JsonValue>;
  /** @throws CommandError naming the field and the form expected */
  readonly checkRequest: (json: JsonValue) => void;
};

export type MethodCatalog = {
  readonly names: readonly string[];
  /**
   * Finds a method by its full name or by its end: `InferenceService/Generate`.
   *
   * @throws CommandError when there is none, or more than one
   */
  find(name: string): CatalogMethod;
};

export function loadMethodCatalog(): MethodCatalog {
  const file = fileURLToPath(import.meta.resolve('@gatehouse/contracts/descriptors.binpb'));
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(file)));
  const methods = new Map<string, DescMethod>();
  for (const type of registry) {
    if (type.kind !== 'service') continue;
    for (const method of type.methods) methods.set(`${type.typeName}/${method.name}`, method);
  }
  return {
    names: [...methods.keys()],
    find: (asked) => {
      const name = resolveName(asked, [...methods.keys()]);
      const method = methods.get(name);
      if (method === undefined) throw unknownMethod(asked, methods.keys());
      return catalogMethod(name, method, registry);
    },
  };
}

function resolveName(asked: string, names: readonly string[]): string {
  const name = asked.replace(/^\//, '');
  if (names.includes(name)) return name;
  const matches = names.filter((known) => known.endsWith(`.${name}`));
  if (matches.length > 1)
    throw new CommandError(`${asked} is ambiguous; expected one of ${matches.join(', ')}`);
  return matches[0] ?? name;
}

function unknownMethod(asked: string, names: Iterable<string>): CommandError {
  const known = [...names];
  const short = known.map((name) => name.slice(name.lastIndexOf('.', name.indexOf('/')) + 1));
  const nearest = nearestName(asked, [...known, ...short]);
  const hint = nearest === undefined ? '`gatehouse methods` lists them' : `did you mean ${nearest}?`;
  return new CommandError(`there is no method ${asked} (expected SERVICE/METHOD); ${hint}`);
}

function catalogMethod(name: string, method: DescMethod, registry: FileRegistry): CatalogMethod {
  const input = jsonCodec(method.input, registry);
  const output = jsonCodec(method.output, registry);
  const clientStreams = method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming';
  const serverStreams = method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming';
  return {
    name,
    service: method.parent.typeName,
    checkRequest: (json) => {
      try {
        input.encode(json);
      } catch (error) {
        throw new CommandError(`--data does not fit ${method.input.typeName}: ${(error as Error).message}`);
      }
    },
    definition: {
      path: `/${name}`,
      requestStream: clientStreams,
      responseStream: serverStreams,
      requestSerialize: input.encode,
      requestDeserialize: input.decode,
      responseSerialize: output.encode,
      responseDeserialize: output.decode,
    },
  };
}

type JsonCodec = { encode(json: JsonValue): Buffer; decode(bytes: Buffer): JsonValue };

function jsonCodec(message: DescMessage, registry: FileRegistry): JsonCodec {
  return {
    encode: (json) => Buffer.from(toBinary(message, fromJson(message, json, { registry }))),
    decode: (bytes) => toJson(message, fromBinary(message, bytes), { registry }),
  };
}
