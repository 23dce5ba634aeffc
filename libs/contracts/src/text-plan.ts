import { type DescField, type DescMessage, type FileRegistry, ScalarType } from '@bufbuild/protobuf';
import { type FieldPolicy, FieldRole, Sensitivity } from './gen/gatehouse/policy/v1/annotations.ts';

/**
 * Sensitivities as bits, `1 << Sensitivity`: those of a field and of all the fields around it. Text that nobody has
 * classified has all of them.
 */
export type SensitivityBits = number;

export const EVERY_SENSITIVITY: SensitivityBits = 0b111110;

interface StepBase {
  /** The field's name in the proto. */
  readonly name: string;
  readonly number: number;
  readonly wireType: number;
  readonly isRepeated: boolean;
}

/** A string: `delta` concatenates over the messages of a stream, `key` says with which others. */
type TextStep = StepBase & {
  readonly kind: 'text';
  readonly bits: SensitivityBits;
  readonly role: 'none' | 'delta' | 'key';
  /** A member of a oneof is there or not, also when it is empty. */
  readonly isInOneof: boolean;
};

/** A whole number of 64 bits or a double, which may stand for what would be text elsewhere. */
type NumberStep = StepBase & {
  readonly kind: 'number';
  readonly bits: SensitivityBits;
  readonly scalar: ScalarType;
  /** The string field that may take its place: that of google.protobuf.Value. */
  readonly textNumber: number | null;
};

/** What the walker does with one field of a message. `list` fields are numbers that may also come packed. */
export type PlanStep =
  | TextStep
  | NumberStep
  | (StepBase & { readonly kind: 'bytes'; readonly bits: SensitivityBits })
  | (StepBase & { readonly kind: 'message'; readonly child: TextPlan })
  | (StepBase & { readonly kind: 'any'; readonly child: TextPlan; readonly bits: SensitivityBits })
  /** A count of tokens, cumulative over the stream. */
  | (StepBase & { readonly kind: 'usage' })
  /** A number with the role of a key. */
  | (StepBase & { readonly kind: 'key' })
  | (StepBase & { readonly kind: 'list' | 'other' });

/** How to find the text in messages of one type. */
export interface TextPlan {
  readonly typeName: string;
  /** By field number: every field that the contract knows. What leads to no text is `other`, messages too. */
  readonly steps: ReadonlyMap<number, PlanStep>;
  /** A message of this type is a piece of a text, also when it holds none: an empty one is not sent. */
  readonly isDelta: boolean;
}

type MapField = DescField & { readonly fieldKind: 'map' };
type MutablePlan = { typeName: string; steps: Map<number, PlanStep>; isDelta: boolean };

const WIDE_NUMBERS: ReadonlySet<ScalarType> = new Set([
  ScalarType.INT64,
  ScalarType.UINT64,
  ScalarType.SINT64,
  ScalarType.FIXED64,
  ScalarType.SFIXED64,
  ScalarType.DOUBLE,
]);
const NUMBER_WIRE_TYPES: ReadonlySet<number> = new Set([0, 1, 5]);
const USED_ROLES: ReadonlySet<FieldRole> = new Set([
  FieldRole.FIELD_ROLE_OUTPUT_TOKENS_USED,
  FieldRole.FIELD_ROLE_INPUT_TOKENS_USED,
]);

/**
 * Plans for the messages of a contract. A sensitivity on a message, repeated or map field covers all that is inside, in
 * addition to what stands there. Plans are made once for each type and sensitivity around it.
 */
export class TextPlans {
  readonly #registry: FileRegistry;
  readonly #policyOf: (field: DescField) => FieldPolicy | undefined;
  readonly #plans = new Map<string, MutablePlan>();

  constructor(registry: FileRegistry, policyOf: (field: DescField) => FieldPolicy | undefined) {
    this.#registry = registry;
    this.#policyOf = policyOf;
  }

  of(message: DescMessage): TextPlan {
    return this.#prunedPlan(message, 0);
  }

  /** @param bits the sensitivity of what is around the message. @returns null for a type that is not known */
  named(typeName: string, bits: SensitivityBits): TextPlan | null {
    const message = this.#registry.getMessage(typeName);
    return message === undefined ? null : this.#prunedPlan(message, bits);
  }

  #prunedPlan(message: DescMessage, bits: SensitivityBits): TextPlan {
    const known = this.#plans.get(keyOf(message.typeName, bits));
    if (known !== undefined) return known;
    const plan = this.#plan(message, bits);
    pruneTextless([...this.#plans.values()]);
    return plan;
  }

  #plan(message: DescMessage, bits: SensitivityBits): MutablePlan {
    const key = keyOf(message.typeName, bits);
    const known = this.#plans.get(key);
    if (known !== undefined) return known;
    const plan: MutablePlan = { typeName: message.typeName, steps: new Map(), isDelta: false };
    this.#plans.set(key, plan);
    for (const field of message.fields) {
      const step = this.#step(field, bits);
      plan.steps.set(field.number, step);
      if (step.kind === 'text' && step.role === 'delta' && !step.isInOneof) plan.isDelta = true;
    }
    return plan;
  }

  #step(field: DescField, around: SensitivityBits): PlanStep {
    const policy = this.#policyOf(field);
    const own = policy?.sensitivity ?? Sensitivity.SENSITIVITY_UNSPECIFIED;
    const bits = around | (own > 0 ? 1 << own : 0);
    const isRepeated = field.fieldKind === 'list' || field.fieldKind === 'map';
    const base = { name: field.name, number: field.number, isRepeated };
    if (field.fieldKind === 'map')
      return { ...base, kind: 'message', wireType: 2, child: this.#entry(field, bits) };
    if (field.message !== undefined) {
      const isDelimited = 'delimitedEncoding' in field && field.delimitedEncoding;
      const message = { ...base, wireType: isDelimited ? 3 : 2, child: this.#plan(field.message, bits) };
      return field.message.typeName === 'google.protobuf.Any'
        ? { ...message, kind: 'any', bits }
        : { ...message, kind: 'message' };
    }
    const scalar = { ...base, wireType: wireTypeOf(field.scalar) };
    const role = policy?.role ?? FieldRole.FIELD_ROLE_UNSPECIFIED;
    if (field.scalar === ScalarType.STRING) {
      const isInOneof = field.oneof !== undefined;
      return { ...scalar, kind: 'text', bits: bits || EVERY_SENSITIVITY, role: textRole(role), isInOneof };
    }
    if (field.scalar === ScalarType.BYTES)
      return { ...scalar, kind: 'bytes', bits: bits || EVERY_SENSITIVITY };
    if (isRepeated) return { ...scalar, kind: 'list' };
    if (USED_ROLES.has(role)) return { ...scalar, kind: 'usage' };
    if (role === FieldRole.FIELD_ROLE_TEXT_KEY) return { ...scalar, kind: 'key' };
    return this.#numberStep(field, scalar, bits);
  }

  /** Numbers are looked at where they are marked; those of google.protobuf.Value stand where a text might. */
  #numberStep(field: DescField, scalar: StepBase, bits: SensitivityBits): PlanStep {
    const isValue = field.parent.typeName === 'google.protobuf.Value';
    if (field.scalar === undefined || !WIDE_NUMBERS.has(field.scalar) || (bits === 0 && !isValue))
      return { ...scalar, kind: 'other' };
    const text = isValue ? field.parent.fields.find(({ name }) => name === 'string_value') : undefined;
    return {
      ...scalar,
      kind: 'number',
      bits: bits || EVERY_SENSITIVITY,
      scalar: field.scalar,
      textNumber: text?.number ?? null,
    };
  }

  /** An entry of a map is a message with the key as field 1 and the value as field 2. */
  #entry(field: MapField, bits: SensitivityBits): MutablePlan {
    const typeName = `${field.parent.typeName}.${field.name}`;
    const known = this.#plans.get(keyOf(typeName, bits));
    if (known !== undefined) return known;
    const plan: MutablePlan = { typeName, steps: new Map(), isDelta: false };
    this.#plans.set(keyOf(typeName, bits), plan);
    const key: StepBase = { name: 'key', number: 1, isRepeated: false, wireType: wireTypeOf(field.mapKey) };
    const value: StepBase = {
      name: 'value',
      number: 2,
      isRepeated: false,
      wireType: wireTypeOf(field.scalar),
    };
    plan.steps.set(1, field.mapKey === ScalarType.STRING ? plainText(key, bits) : { ...key, kind: 'other' });
    plan.steps.set(2, this.#mapValue(field, value, bits));
    return plan;
  }

  #mapValue(field: MapField, value: StepBase, bits: SensitivityBits): PlanStep {
    if (field.message !== undefined) {
      const message = { ...value, wireType: 2, child: this.#plan(field.message, bits) };
      return field.message.typeName === 'google.protobuf.Any'
        ? { ...message, kind: 'any', bits }
        : { ...message, kind: 'message' };
    }
    if (field.scalar === ScalarType.STRING) return plainText(value, bits);
    if (field.scalar === ScalarType.BYTES)
      return { ...value, kind: 'bytes', bits: bits || EVERY_SENSITIVITY };
    return this.#numberStep(field, value, bits);
  }
}

/** Fields whose role asks for a text, or for what tells texts apart, and which can be neither. */
export function textRoleProblems(
  fields: Iterable<DescField>,
  policyOf: (field: DescField) => FieldPolicy | undefined,
): string[] {
  const problems: string[] = [];
  for (const field of fields) {
    const role = policyOf(field)?.role;
    const name = `${field.parent.typeName}.${field.name}`;
    const { scalar } = field;
    if (
      role === FieldRole.FIELD_ROLE_TEXT_DELTA &&
      (scalar !== ScalarType.STRING || field.fieldKind === 'map')
    )
      problems.push(`${name} has the role of a text delta and must be a string`);
    if (role !== FieldRole.FIELD_ROLE_TEXT_KEY) continue;
    const isNumber = field.fieldKind === 'enum' || NUMBER_WIRE_TYPES.has(wireTypeOf(scalar));
    if (field.fieldKind === 'list' || field.fieldKind === 'map' || field.fieldKind === 'message')
      problems.push(`${name} has the role of a text key and must have one value`);
    else if (scalar !== ScalarType.STRING && !isNumber)
      problems.push(`${name} has the role of a text key and must be a string or a number`);
  }
  return problems;
}

/** Whether a message of this plan can hold text that concatenates over a stream; what Any holds is not known before it comes. */
export function mayHoldDeltas(plan: TextPlan): boolean {
  const found = new Set([plan]);
  for (const { steps } of found) {
    for (const step of steps.values()) {
      if (step.kind === 'any' || (step.kind === 'text' && step.role === 'delta')) return true;
      if (step.kind === 'message') found.add(step.child);
    }
  }
  return false;
}

function plainText(step: StepBase, bits: SensitivityBits): PlanStep {
  return { ...step, kind: 'text', bits: bits || EVERY_SENSITIVITY, role: 'none', isInOneof: false };
}

/** Messages that lead to no text are passed over whole. */
function pruneTextless(plans: readonly MutablePlan[]): void {
  const leading = new Set<TextPlan>();
  const leads = (step: PlanStep): boolean =>
    step.kind === 'message' ? leading.has(step.child) : step.kind !== 'other' && step.kind !== 'list';
  for (let before = -1; before < leading.size; ) {
    before = leading.size;
    for (const plan of plans) if ([...plan.steps.values()].some(leads)) leading.add(plan);
  }
  for (const { steps } of plans) {
    for (const step of steps.values()) {
      if (step.kind !== 'message' || leading.has(step.child)) continue;
      const { name, number, wireType, isRepeated } = step;
      steps.set(number, { kind: 'other', name, number, wireType, isRepeated });
    }
  }
}

function keyOf(typeName: string, bits: SensitivityBits): string {
  return `${bits} ${typeName}`;
}

function textRole(role: FieldRole): TextStep['role'] {
  if (role === FieldRole.FIELD_ROLE_TEXT_DELTA) return 'delta';
  return role === FieldRole.FIELD_ROLE_TEXT_KEY ? 'key' : 'none';
}

/** Undefined stands for an enum. */
function wireTypeOf(scalar: ScalarType | undefined): number {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return 2;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return 1;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return 5;
    default:
      return 0;
  }
}
