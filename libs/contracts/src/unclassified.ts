import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import type { Contract } from './contract.ts';
import { Sensitivity } from './gen/gatehouse/policy/v1/annotations.ts';

/** A method without a permission, or text that no annotation covers. */
export interface Unclassified {
  readonly kind: 'method' | 'field';
  /** `pkg.Service/Method` or `pkg.Message.field`. */
  readonly name: string;
  /** The first method whose request or response holds the field; for a method, itself. */
  readonly method: string;
}

/**
 * Every method without a permission, and every string or bytes field of a request or response whose sensitivity nobody
 * has stated. A sensitivity on a message, repeated or map field covers all that is inside; Google's well-known types are
 * covered in no other way.
 */
export function findUnclassified(contract: Contract): Unclassified[] {
  const found: Unclassified[] = contract.unclassifiedMethods.map((path) => {
    const name = path.slice(1);
    return { kind: 'method', name, method: name };
  });
  const seen = new Set<DescMessage>();
  for (const type of contract.registry) {
    if (type.kind !== 'service') continue;
    for (const { input, output, name } of type.methods) {
      const method = `${type.typeName}/${name}`;
      const fields = [...uncovered(contract, input, seen), ...uncovered(contract, output, seen)];
      found.push(...fields.map((field) => ({ kind: 'field' as const, name: fieldName(field), method })));
    }
  }
  return found;
}

function uncovered(contract: Contract, message: DescMessage, seen: Set<DescMessage>): DescField[] {
  if (seen.has(message)) return [];
  seen.add(message);
  return message.fields.flatMap((field) => {
    const sensitivity =
      contract.fieldPolicies.get(fieldName(field))?.sensitivity ?? Sensitivity.SENSITIVITY_UNSPECIFIED;
    if (sensitivity !== Sensitivity.SENSITIVITY_UNSPECIFIED) return [];
    const inside = field.message === undefined ? [] : uncovered(contract, field.message, seen);
    return holdsText(field) ? [field, ...inside] : inside;
  });
}

function holdsText(field: DescField): boolean {
  if (field.fieldKind === 'map' && field.mapKey === ScalarType.STRING) return true;
  return field.scalar === ScalarType.STRING || field.scalar === ScalarType.BYTES;
}

function fieldName(field: DescField): string {
  return `${field.parent.typeName}.${field.name}`;
}
