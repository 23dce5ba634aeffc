import type { DescField, DescMethod, FileRegistry } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { FieldPolicy, MethodPolicy } from './gen/gatehouse/policy/v1/annotations.ts';

interface UnknownField {
  readonly no: number;
  readonly wireType: WireType;
  readonly data: Uint8Array;
}

/** Reads the options of gatehouse/policy/v1/annotations.proto from the descriptors of one set. */
export interface PolicyOptions {
  /** The versions that files of the set state. */
  readonly contractVersions: readonly { readonly file: string; readonly version: string }[];
  method(method: DescMethod): MethodPolicy | undefined;
  field(field: DescField): FieldPolicy | undefined;
}

/**
 * A set that does not hold our extensions has no options of ours: another organisation may use the same numbers, which
 * protobuf leaves to everyone's own use.
 */
export function policyOptionsOf(registry: FileRegistry): PolicyOptions {
  const methodNumber = extensionNumber(
    registry,
    'gatehouse.policy.v1.method',
    'google.protobuf.MethodOptions',
  );
  const fieldNumber = extensionNumber(registry, 'gatehouse.policy.v1.field', 'google.protobuf.FieldOptions');
  const versionNumber = extensionNumber(
    registry,
    'gatehouse.policy.v1.contract_version',
    'google.protobuf.FileOptions',
  );
  return {
    contractVersions: [...registry.files].flatMap(({ proto }) => {
      const bytes = extensionBytes(proto.options?.$unknown, versionNumber);
      return bytes === undefined ? [] : [{ file: proto.name, version: Buffer.from(bytes).toString('utf8') }];
    }),
    method: (method) => {
      const bytes = extensionBytes(method.proto.options?.$unknown, methodNumber);
      return bytes === undefined ? undefined : MethodPolicy.decode(bytes);
    },
    field: (field) => {
      const bytes = extensionBytes(field.proto.options?.$unknown, fieldNumber);
      return bytes === undefined ? undefined : FieldPolicy.decode(bytes);
    },
  };
}

function extensionNumber(registry: FileRegistry, name: string, extendee: string): number | undefined {
  const extension = registry.getExtension(name);
  return extension?.extendee.typeName === extendee ? extension.number : undefined;
}

/** The option's message. An option set piece by piece comes as several records, which concatenate to one message. */
function extensionBytes(
  unknown: readonly UnknownField[] | undefined,
  number: number | undefined,
): Uint8Array | undefined {
  const records = (unknown ?? []).filter(
    (field) => field.no === number && field.wireType === WireType.LengthDelimited,
  );
  if (records.length === 0) return undefined;
  return Buffer.concat(records.map((record) => new BinaryReader(record.data).bytes()));
}
