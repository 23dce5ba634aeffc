import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { type FieldPolicy, FieldRole, Sensitivity } from './gen/gatehouse/policy/v1/annotations.ts';

type NumberKind = 'int32' | 'uint32' | 'sint32' | 'int64' | 'uint64' | 'sint64';

/** The numbers of a closed enum, which treats all others as unknown; undefined for all else. */
type ClosedTo = ReadonlySet<number> | undefined;

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

/**
 * What the reader does with one field of a message: takes a value (`string` and the numbers), goes into it (`message`),
 * or passes over it. `list` fields are numbers that may also come packed, `input` fields what a model reads.
 */
export type FieldStep =
  | (ValueStep & { readonly kind: 'string' })
  | (ValueStep & { readonly kind: NumberKind; readonly closedTo: ClosedTo })
  | (StepBase & { readonly kind: 'message'; readonly child: MessageSteps })
  | (StepBase & { readonly kind: 'list' })
  | (StepBase & { readonly kind: 'input' })
  | (StepBase & { readonly kind: 'other'; readonly closedTo: ClosedTo });

/** By field number: every field that the contract knows. */
export type MessageSteps = ReadonlyMap<number, FieldStep>;

export type ReadRole =
  | 'model'
  | 'modelVersion'
  | 'priority'
  | 'outputTokensLimit'
  | 'outputTokensUsed'
  | 'inputTokensUsed';

/** Roles whose fields hold text; those of all others hold whole numbers. */
const TEXT_ROLES: ReadonlySet<ReadRole> = new Set(['model', 'modelVersion']);

const ROLE_NAMES: ReadonlyMap<FieldRole, ReadRole> = new Map([
  [FieldRole.FIELD_ROLE_MODEL, 'model'],
  [FieldRole.FIELD_ROLE_MODEL_VERSION, 'modelVersion'],
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

/** What a model reads; of text that nobody has classified it may be. */
const INPUT: ReadonlySet<Sensitivity> = new Set([
  Sensitivity.SENSITIVITY_UNSPECIFIED,
  Sensitivity.SENSITIVITY_PROMPT,
  Sensitivity.SENSITIVITY_EMBEDDING_INPUT,
]);

const PRESENCE_IMPLICIT = 2;
const SLOTS_MAX = 256;

/** Where values are gathered while a message is read: one slot for each way to an annotated field. */
export class RoleSlots {
  readonly of: Readonly<Record<ReadRole, number[]>> = {
    model: [],
    modelVersion: [],
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
 * fields, maps and messages within themselves have no one value and are passed over, save that a model or its version there
 * is a problem: rules about it could not be kept.
 */
export function compileSteps(
  message: DescMessage,
  policyOf: (field: DescField) => FieldPolicy | undefined,
  problems: Set<string>,
): { readonly steps: MessageSteps; readonly slots: RoleSlots } | null {
  const compiler = new StepCompiler(policyOf, problems);
  const steps = compiler.compile(message, [], Sensitivity.SENSITIVITY_UNSPECIFIED);
  return compiler.slots.count === 0 && !compiler.hasInput ? null : { steps, slots: compiler.slots };
}

class StepCompiler {
  readonly slots = new RoleSlots();
  hasInput = false;
  readonly #policyOf: (field: DescField) => FieldPolicy | undefined;
  readonly #problems: Set<string>;
  /** Steps of messages that are only passed over, one for each type and sensitivity: they may hold themselves. */
  readonly #passing = new Map<Sensitivity, Map<DescMessage, MessageSteps>>();

  constructor(policyOf: (field: DescField) => FieldPolicy | undefined, problems: Set<string>) {
    this.#policyOf = policyOf;
    this.#problems = problems;
  }

  /** @param around the sensitivity of the field that the message is in */
  compile(message: DescMessage, within: readonly DescMessage[], around: Sensitivity): MessageSteps {
    const steps = new Map<number, FieldStep>();
    const slotsOfField = new Map<DescField, readonly number[]>();
    for (const field of message.fields) {
      const first = this.slots.count;
      steps.set(field.number, this.#step(field, [...within, message], around));
      slotsOfField.set(field, range(first, this.slots.count));
    }
    for (const oneof of message.oneofs) {
      const slots = oneof.fields.flatMap((field) => slotsOfField.get(field) ?? []);
      for (const field of oneof.fields) {
        const clears = slots.filter((slot) => !slotsOfField.get(field)?.includes(slot));
        steps.set(field.number, { ...(steps.get(field.number) as FieldStep), clears });
      }
    }
    return steps;
  }

  #step(field: DescField, within: readonly DescMessage[], around: Sensitivity): FieldStep {
    const role = ROLE_NAMES.get(this.#policyOf(field)?.role ?? FieldRole.FIELD_ROLE_UNSPECIFIED);
    const isRepeated = field.fieldKind === 'list' || field.fieldKind === 'map';
    if (
      field.fieldKind === 'message' &&
      !within.includes(field.message) &&
      this.#leadsToRole(field.message)
    ) {
      const child = this.compile(field.message, within, this.#sensitivityOf(field, around));
      return { ...this.#passingMessage(field, field.message, around), child };
    }
    if (field.message !== undefined && (isRepeated || within.includes(field.message))) {
      this.#refuseModelInside(field.message, nameOf(field));
    }
    if (role === undefined) return this.#passingStep(field, around);
    if (isRepeated)
      this.#problems.add(`${nameOf(field)} has role ${role} and is repeated; it must have one value`);
    else if (this.slots.count >= SLOTS_MAX)
      this.#problems.add(`${nameOf(within[0])} has more than ${SLOTS_MAX} annotated fields`);
    else if (field.fieldKind !== 'message')
      return this.#valueStep(field, role) ?? this.#passingStep(field, around);
    else this.#problems.add(`${nameOf(field)} has role ${role} and is a message; it must have one value`);
    return this.#passingStep(field, around);
  }

  #passingStep(field: DescField, around: Sensitivity): FieldStep {
    if (field.message !== undefined && field.fieldKind !== 'map')
      return this.#passingMessage(field, field.message, around);
    const inside = this.#sensitivityOf(field, around);
    const base = { name: nameOf(field), clears: [] };
    if (field.fieldKind === 'map') {
      const value: FieldStep =
        field.message === undefined
          ? this.#passingScalar(field, field.scalar, inside)
          : { ...base, kind: 'message', wireType: 2, child: this.#passingSteps(field.message, inside) };
      const key = this.#passingScalar(field, field.mapKey, inside);
      return {
        ...base,
        kind: 'message',
        wireType: 2,
        child: new Map([
          [1, key],
          [2, value],
        ]),
      };
    }
    const wireType = wireTypeOf(field.scalar);
    if (field.fieldKind === 'list' && wireType !== 2) return { ...base, kind: 'list', wireType };
    return { ...this.#passingScalar(field, field.scalar, inside), closedTo: closedTo(field) };
  }

  #passingScalar(field: DescField, scalar: ScalarType | undefined, inside: Sensitivity) {
    const wireType = wireTypeOf(scalar);
    const isInput = wireType === 2 && INPUT.has(inside);
    this.hasInput ||= isInput;
    const kind = isInput ? ('input' as const) : ('other' as const);
    return { name: nameOf(field), clears: [], kind, wireType, closedTo: undefined };
  }

  #passingMessage(field: DescField, message: DescMessage, around: Sensitivity) {
    const isDelimited = field.fieldKind !== 'map' && 'delimitedEncoding' in field && field.delimitedEncoding;
    const base = { name: nameOf(field), wireType: isDelimited ? 3 : 2, clears: [] };
    const child = this.#passingSteps(message, this.#sensitivityOf(field, around));
    return { ...base, kind: 'message' as const, child };
  }

  #passingSteps(message: DescMessage, around: Sensitivity): MessageSteps {
    let ofSensitivity = this.#passing.get(around);
    if (ofSensitivity === undefined) {
      ofSensitivity = new Map<DescMessage, MessageSteps>();
      this.#passing.set(around, ofSensitivity);
    }
    const known = ofSensitivity.get(message);
    if (known !== undefined) return known;
    const steps = new Map<number, FieldStep>();
    ofSensitivity.set(message, steps);
    for (const field of message.fields) steps.set(field.number, this.#passingStep(field, around));
    return steps;
  }

  /** What a field inside says of itself does not take away what is said of the whole. */
  #sensitivityOf(field: DescField, around: Sensitivity): Sensitivity {
    const own = this.#policyOf(field)?.sensitivity ?? Sensitivity.SENSITIVITY_UNSPECIFIED;
    const isWhole = around !== Sensitivity.SENSITIVITY_UNSPECIFIED && INPUT.has(around);
    return isWhole || own === Sensitivity.SENSITIVITY_UNSPECIFIED ? around : own;
  }

  #leadsToRole(message: DescMessage): boolean {
    const fields = messagesWithin(message, (field) => field.fieldKind === 'message').flatMap(
      (inner) => inner.fields,
    );
    return fields.some((field) =>
      ROLE_NAMES.has(this.#policyOf(field)?.role ?? FieldRole.FIELD_ROLE_UNSPECIFIED),
    );
  }

  #valueStep(field: DescField & { fieldKind: 'scalar' | 'enum' }, role: ReadRole): FieldStep | null {
    const name = nameOf(field);
    const number = numberKindOf(field);
    const isString = field.fieldKind === 'scalar' && field.scalar === ScalarType.STRING;
    const isText = TEXT_ROLES.has(role);
    if (isText ? !isString : number === undefined) {
      const expected = isText ? 'a string' : 'a whole number or an enum';
      this.#problems.add(`${name} has role ${role} and must be ${expected}`);
      return null;
    }
    const base = { name, clears: [], hasPresence: (field.presence as number) !== PRESENCE_IMPLICIT };
    const slot = this.slots.take(role, declaredDefault(field));
    if (number === undefined) return { ...base, kind: 'string', wireType: 2, slot };
    return { ...base, ...number, slot, closedTo: closedTo(field) };
  }

  #refuseModelInside(message: DescMessage, where: string): void {
    for (const field of messagesWithin(message, () => true).flatMap((inner) => inner.fields)) {
      const role = ROLE_NAMES.get(this.#policyOf(field)?.role ?? FieldRole.FIELD_ROLE_UNSPECIFIED);
      if (role === undefined || !TEXT_ROLES.has(role)) continue;
      this.#problems.add(
        `${nameOf(field)} has role ${role} inside ${where}, which may come many times; it must have one value`,
      );
    }
  }
}

function nameOf(named: DescField | DescMessage | undefined): string {
  return named?.kind === 'field' ? `${named.parent.typeName}.${named.name}` : (named?.typeName ?? '');
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

/** A message and those that its fields lead to, as far as `follow` says. */
function messagesWithin(message: DescMessage, follow: (field: DescField) => boolean): DescMessage[] {
  const found = new Set([message]);
  for (const next of found) {
    for (const field of next.fields)
      if (field.message !== undefined && follow(field)) found.add(field.message);
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

/** Undefined stands for an enum. */
function wireTypeOf(scalar: ScalarType | undefined): number {
  if (scalar === undefined) return 0;
  if (scalar === ScalarType.STRING || scalar === ScalarType.BYTES) return 2;
  if (scalar === ScalarType.DOUBLE) return 1;
  if (scalar === ScalarType.FLOAT) return 5;
  return NUMBER_KINDS.get(scalar)?.wireType ?? 0;
}
