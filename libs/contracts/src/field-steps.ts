import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { type FieldPolicy, FieldRole } from './gen/gatehouse/policy/v1/annotations.ts';

/** How the value of a field is read; `other` fields are passed over and matter for their oneof alone. */
export type FieldKind = NumberKind | 'string' | 'message' | 'other';
type NumberKind = 'int32' | 'uint32' | 'sint32' | 'int64' | 'uint64' | 'sint64';

interface StepBase {
  readonly name: string;
  readonly wireType: number;
  /** Slots of the other members of the field's oneof, emptied when this field comes. */
  readonly clears: readonly number[];
}

interface ValueStep extends StepBase {
  readonly slot: number;
  readonly hasPresence: boolean;
}

/** The numbers of a closed enum, which treats all others as unknown; undefined for all else. */
type ClosedTo = ReadonlySet<number> | undefined;

/** What the reader does with one field of a message. */
export type FieldStep =
  | (ValueStep & { readonly kind: 'string' })
  | (ValueStep & { readonly kind: NumberKind; readonly closedTo: ClosedTo })
  | (StepBase & { readonly kind: 'message'; readonly child: MessageSteps })
  | (StepBase & { readonly kind: 'other'; readonly closedTo: ClosedTo });

/** By field number. Fields that lead nowhere are absent. */
export type MessageSteps = ReadonlyMap<number, FieldStep>;

export type ReadRole = 'model' | 'priority' | 'outputTokensLimit' | 'outputTokensUsed' | 'inputTokensUsed';

const ROLE_NAMES: ReadonlyMap<FieldRole, ReadRole> = new Map([
  [FieldRole.FIELD_ROLE_MODEL, 'model'],
  [FieldRole.FIELD_ROLE_PRIORITY, 'priority'],
  [FieldRole.FIELD_ROLE_OUTPUT_TOKENS_LIMIT, 'outputTokensLimit'],
  [FieldRole.FIELD_ROLE_OUTPUT_TOKENS_USED, 'outputTokensUsed'],
  [FieldRole.FIELD_ROLE_INPUT_TOKENS_USED, 'inputTokensUsed'],
]);

const NUMBER_KINDS: ReadonlyMap<ScalarType, { readonly kind: NumberKind; readonly wireType: number }> =
  new Map([
    [ScalarType.INT32, { kind: 'int32', wireType: 0 }],
    [ScalarType.UINT32, { kind: 'uint32', wireType: 0 }],
    [ScalarType.SINT32, { kind: 'sint32', wireType: 0 }],
    [ScalarType.INT64, { kind: 'int64', wireType: 0 }],
    [ScalarType.UINT64, { kind: 'uint64', wireType: 0 }],
    [ScalarType.SINT64, { kind: 'sint64', wireType: 0 }],
    [ScalarType.FIXED32, { kind: 'uint32', wireType: 5 }],
    [ScalarType.SFIXED32, { kind: 'int32', wireType: 5 }],
    [ScalarType.FIXED64, { kind: 'uint64', wireType: 1 }],
    [ScalarType.SFIXED64, { kind: 'int64', wireType: 1 }],
  ]);

const PRESENCE_IMPLICIT = 2;
const SLOTS_MAX = 256;

/** Where values are gathered while a message is read: one slot for each way to an annotated field. */
export class RoleSlots {
  readonly of: Readonly<Record<ReadRole, number[]>> = {
    model: [],
    priority: [],
    outputTokensLimit: [],
    outputTokensUsed: [],
    inputTokensUsed: [],
  };
  /** By slot: the default that the proto declares for a field that is absent. */
  readonly absent: (string | number | undefined)[] = [];

  get count(): number {
    return this.absent.length;
  }

  take(role: ReadRole, absent: string | number | undefined): number {
    this.of[role].push(this.absent.length);
    return this.absent.push(absent) - 1;
  }
}

/**
 * Follows a message's singular fields to the annotated ones. Null: there are none. Annotated fields inside repeated
 * fields, maps and messages within themselves have no one value and are left out, save that a model there is a problem:
 * rules about it could not be kept.
 */
export function compileSteps(
  message: DescMessage,
  policyOf: (field: DescField) => FieldPolicy | undefined,
  problems: Set<string>,
): { readonly steps: MessageSteps; readonly slots: RoleSlots } | null {
  const compiler = new StepCompiler(policyOf, problems);
  const steps = compiler.compile(message, []);
  return steps === null ? null : { steps, slots: compiler.slots };
}

class StepCompiler {
  readonly slots = new RoleSlots();
  readonly #policyOf: (field: DescField) => FieldPolicy | undefined;
  readonly #problems: Set<string>;

  constructor(policyOf: (field: DescField) => FieldPolicy | undefined, problems: Set<string>) {
    this.#policyOf = policyOf;
    this.#problems = problems;
  }

  compile(message: DescMessage, within: readonly DescMessage[]): MessageSteps | null {
    const steps = new Map<number, FieldStep>();
    const slotsOfField = new Map<DescField, readonly number[]>();
    for (const field of message.fields) {
      const first = this.slots.count;
      const step = this.#step(field, [...within, message]);
      if (step !== null) steps.set(field.number, step);
      slotsOfField.set(field, range(first, this.slots.count));
    }
    for (const oneof of message.oneofs) {
      const slots = oneof.fields.flatMap((field) => slotsOfField.get(field) ?? []);
      if (slots.length === 0) continue;
      for (const field of oneof.fields) {
        const clears = slots.filter((slot) => !(slotsOfField.get(field) ?? []).includes(slot));
        steps.set(field.number, { ...(steps.get(field.number) ?? otherStep(field)), clears });
      }
    }
    return steps.size > 0 ? steps : null;
  }

  #step(field: DescField, within: readonly DescMessage[]): FieldStep | null {
    if (this.slots.count >= SLOTS_MAX) {
      this.#problems.add(`${within[0]?.typeName ?? ''} has more than ${SLOTS_MAX} annotated fields`);
      return null;
    }
    if (field.fieldKind === 'message') return this.#messageStep(field, within);
    const role = ROLE_NAMES.get(this.#policyOf(field)?.role ?? FieldRole.FIELD_ROLE_UNSPECIFIED);
    if (field.fieldKind === 'list' || field.fieldKind === 'map') {
      if (role !== undefined)
        this.#problems.add(`${nameOf(field)} has role ${role} and is repeated; it must have one value`);
      else if (field.message !== undefined) this.#refuseModelInside(field.message, nameOf(field));
      return null;
    }
    return role === undefined ? null : this.#valueStep(field, role);
  }

  #messageStep(
    field: DescField & { fieldKind: 'message' },
    within: readonly DescMessage[],
  ): FieldStep | null {
    if (within.includes(field.message)) {
      this.#refuseModelInside(field.message, nameOf(field));
      return null;
    }
    const child = this.compile(field.message, within);
    const wireType = field.delimitedEncoding ? 3 : 2;
    return child === null ? null : { kind: 'message', name: nameOf(field), wireType, clears: [], child };
  }

  #valueStep(field: DescField & { fieldKind: 'scalar' | 'enum' }, role: ReadRole): FieldStep | null {
    const name = nameOf(field);
    const number = numberKindOf(field);
    const isString = field.fieldKind === 'scalar' && field.scalar === ScalarType.STRING;
    if (role === 'model' ? !isString : number === undefined) {
      const expected = role === 'model' ? 'a string' : 'a whole number or an enum';
      this.#problems.add(`${name} has role ${role} and must be ${expected}`);
      return null;
    }
    const base = { name, clears: [], hasPresence: (field.presence as number) !== PRESENCE_IMPLICIT };
    const slot = this.slots.take(role, declaredDefault(field));
    if (number === undefined) return { ...base, kind: 'string', wireType: 2, slot };
    return { ...base, ...number, slot, closedTo: closedTo(field) };
  }

  #refuseModelInside(message: DescMessage, where: string): void {
    for (const field of messagesWithin(message).flatMap((inner) => inner.fields)) {
      if (this.#policyOf(field)?.role !== FieldRole.FIELD_ROLE_MODEL) continue;
      this.#problems.add(
        `${nameOf(field)} has role model inside ${where}, which may come many times; it must have one value`,
      );
    }
  }
}

function nameOf(field: DescField): string {
  return `${field.parent.typeName}.${field.name}`;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

function messagesWithin(message: DescMessage): DescMessage[] {
  const found = new Set([message]);
  for (const next of found) {
    for (const field of next.fields) if (field.message !== undefined) found.add(field.message);
  }
  return [...found];
}

function numberKindOf(field: DescField & { fieldKind: 'scalar' | 'enum' }) {
  return field.fieldKind === 'enum' ? NUMBER_KINDS.get(ScalarType.INT32) : NUMBER_KINDS.get(field.scalar);
}

function closedTo(field: DescField): ClosedTo {
  const isClosed = field.fieldKind === 'enum' && !field.enum.open;
  return isClosed ? new Set(field.enum.values.map((value) => value.number)) : undefined;
}

/** Only proto2 and editions can declare one. */
function declaredDefault(field: DescField & { fieldKind: 'scalar' | 'enum' }): string | number | undefined {
  const value = field.getDefaultValue();
  if (value === undefined || typeof value === 'string') return value;
  return typeof value === 'object' ? undefined : Number(value);
}

/** A member of a oneof that is read only to know that it came. */
function otherStep(field: DescField): FieldStep {
  const base = { kind: 'other' as const, name: nameOf(field), clears: [], closedTo: closedTo(field) };
  if (field.fieldKind === 'message') return { ...base, wireType: field.delimitedEncoding ? 3 : 2 };
  if (field.fieldKind === 'enum') return { ...base, wireType: 0 };
  return { ...base, wireType: field.fieldKind === 'scalar' ? wireTypeOf(field.scalar) : 2 };
}

function wireTypeOf(scalar: ScalarType): number {
  if (scalar === ScalarType.STRING || scalar === ScalarType.BYTES) return 2;
  if (scalar === ScalarType.DOUBLE) return 1;
  if (scalar === ScalarType.FLOAT) return 5;
  return NUMBER_KINDS.get(scalar)?.wireType ?? 0;
}
