import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type DescField, type DescMessage, fromBinary, ScalarType, toBinary } from '@bufbuild/protobuf';
import { pathToString } from '@bufbuild/protobuf/reflect';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { createValidator, type Validator } from '@bufbuild/protovalidate';
import { type Contract, loadContract } from '@gatehouse/contracts';
import { status } from '@grpc/grpc-js';
import { invalidArgument, RpcError } from './errors.ts';

/** What the contract says about one method, ready to be applied to raw messages. */
export interface ServedMethod {
  /** Full name with a leading slash, as in `:path`. */
  readonly path: string;
  readonly requestBytesMax: number;
  readonly responseBytesMax: number;
  /** Why a request's bytes are refused, or undefined for a valid message. */
  check(bytes: Uint8Array): RpcError | undefined;
}

/** The descriptor set that every service and sidecar shares. */
export interface ServedContract {
  /** The version that it states; null: none. */
  readonly version: string | null;
  /** Throws for a path that the contract does not have: that is a bug of the caller. */
  method(path: string): ServedMethod;
  /** Serialized FileDescriptorProtos, imports included, for server reflection. */
  readonly files: readonly Buffer[];
}

/** Reads the descriptor set that comes with @gatehouse/contracts. */
export function loadServedContract(): ServedContract {
  const descriptorSet = readFileSync(
    fileURLToPath(import.meta.resolve('@gatehouse/contracts/descriptors.binpb')),
  );
  const loaded = loadContract({ descriptorSet });
  if ('problems' in loaded) throw new Error(`the contract is broken: ${loaded.problems.join('; ')}`);
  const { contract } = loaded;
  const validator = createValidator({ registry: contract.registry });
  return {
    version: contract.version,
    method: (path) => servedMethod(path, contract, validator),
    files: [...contract.registry.files].map(({ proto }) =>
      Buffer.from(toBinary(FileDescriptorProtoSchema, proto)),
    ),
  };
}

function servedMethod(path: string, contract: Contract, validator: Validator): ServedMethod {
  const limits = contract.methods.get(path);
  const [service = '', name] = path.slice(1).split('/');
  const method = contract.registry.getService(service)?.methods.find((candidate) => candidate.name === name);
  if (!limits || !method) throw new Error(`the contract has no method ${path}`);
  const { requestBytesMax, responseBytesMax } = limits;
  // Rules are compiled at the first use of a message (tens of milliseconds): here, and not under the first call.
  checkMessage(method.input, new Uint8Array(), validator);
  return {
    path,
    requestBytesMax,
    responseBytesMax,
    check(bytes) {
      if (bytes.length > requestBytesMax) return messageTooLarge('request', bytes.length, requestBytesMax);
      return checkMessage(method.input, bytes, validator);
    },
  };
}

/** RESOURCE_EXHAUSTED, as gRPC libraries answer to a message over the limit. */
export function messageTooLarge(kind: 'request' | 'response', bytes: number, bytesMax: number): RpcError {
  return new RpcError(
    status.RESOURCE_EXHAUSTED,
    `The ${kind} message has ${bytes} bytes; the limit of this method is ${bytesMax}.`,
    {
      errorInfo: {
        reason: 'MESSAGE_TOO_LARGE',
        metadata: { bytes: String(bytes), bytesMax: String(bytesMax) },
      },
    },
  );
}

/**
 * The bytes are decoded strictly here, because the generated decoders are lenient: they turn invalid UTF-8 into
 * replacement characters and accept unclosed groups.
 */
function checkMessage(desc: DescMessage, bytes: Uint8Array, validator: Validator): RpcError | undefined {
  let message: ReturnType<typeof fromBinary>;
  try {
    message = fromBinary(desc, bytes);
  } catch {
    const fields = invalidTextFields(desc, bytes, '');
    return invalidArgument(
      fields.length > 0
        ? fields.map((field) => ({ field, description: 'must be valid UTF-8' }))
        : [{ field: '', description: `must be a valid ${desc.typeName}` }],
    );
  }
  const result = validator.validate(desc, message);
  switch (result.kind) {
    case 'valid':
      return undefined;
    case 'error':
      throw result.error;
    case 'invalid':
      return invalidArgument(
        result.violations.map(({ field, message: description }) => ({
          field: pathToString(field),
          description,
        })),
      );
  }
}

/** Paths of the string fields that are not UTF-8, outermost first; empty when the bytes are broken otherwise. */
function invalidTextFields(desc: DescMessage, bytes: Uint8Array, prefix: string): string[] {
  const found: string[] = [];
  const seen = new Map<number, number>();
  const reader = new BinaryReader(bytes);
  try {
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag();
      const field = desc.fields.find((candidate) => candidate.number === number);
      if (!field || wireType !== WireType.LengthDelimited) {
        reader.skip(wireType, number);
        continue;
      }
      const value = reader.bytes();
      const index = seen.get(number) ?? 0;
      seen.set(number, index + 1);
      const path = `${prefix}${field.name}${field.fieldKind === 'list' ? `[${index}]` : ''}`;
      const inner = messageOf(field);
      if (inner) found.push(...invalidTextFields(inner, value, `${path}.`));
      else if (isText(field) && !isUtf8(value)) found.push(path);
    }
  } catch {
    return found; // Broken further on; what was found so far still holds.
  }
  return found;
}

function messageOf(field: DescField): DescMessage | undefined {
  return field.fieldKind === 'message' || field.fieldKind === 'list' ? field.message : undefined;
}

function isText(field: DescField): boolean {
  return (field.fieldKind === 'scalar' || field.fieldKind === 'list') && field.scalar === ScalarType.STRING;
}
