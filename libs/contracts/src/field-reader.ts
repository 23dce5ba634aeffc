import type { FieldStep, MessageSteps, ReadRole, RoleSlots } from './field-steps.ts';
import { DEPTH_MAX, END_GROUP, LENGTH_DELIMITED, START_GROUP, WireReader } from './wire-reader.ts';

/**
 * What a message says of itself to policy. Undefined: not in the message (for a field without presence also: its zero
 * value, which the wire does not tell apart). 64-bit numbers beyond 2^53 are rounded.
 */
export interface FieldValues {
  readonly model: string | undefined;
  readonly modelVersion: string | undefined;
  readonly priority: number | undefined;
  readonly outputTokensLimit: number | undefined;
  readonly outputTokensUsed: number | undefined;
  readonly inputTokensUsed: number | undefined;
  /** The message's text is at most as many tokens to a model whose tokens have a byte each or more. */
  readonly inputTokensBound: number;
}

/** The message cannot be read in one way only; the sentence says why. */
export interface Malformed {
  readonly malformed: string;
}

/** What chat templates put around a text, and before and after them all. */
const TOKENS_AROUND_TEXT = 8;
const TOKENS_AROUND_ALL = 32;
const TWO_POW_32 = 0x1_0000_0000;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads the annotated fields out of one encoded message and skips the rest, as protobuf's own decoders resolve them
 * (protobuf.dev/programming-guides/encoding: the last of a singular field wins, embedded messages merge, the last member
 * of a oneof wins). Where several fields have one role, numbers give the largest and different models or versions are malformed.
 *
 * Stricter than a decoder has to be, so that an application does not read the same bytes in another way: all fields that
 * the contract knows must have their wire type (protobuf.js and protobuf-es read others, C++ and Go pass over them),
 * embedded messages must end where their length says (protobuf-es and ts-proto read past it), and tags and lengths must
 * fit in 32 bits. One difference is left: of an embedded message that comes twice, ts-proto and protobuf.js keep the last
 * alone. A model belongs into the request itself.
 *
 * One reader serves one thread, message by message, and allocates the result alone.
 */
export class FieldReader {
  readonly #root: MessageSteps;
  readonly #slots: RoleSlots;
  /** By slot: what has been read so far in this message. */
  readonly #values: (string | number | undefined)[];
  readonly #wire = new WireReader();
  #depth = 0;
  #inputTokens = 0;

  constructor(root: MessageSteps, slots: RoleSlots) {
    this.#root = root;
    this.#slots = slots;
    this.#values = slots.absent.map(() => undefined);
  }

  /** Whether the message names the model that is asked for. */
  get readsModel(): boolean {
    return this.reads('model');
  }

  /** Whether the message has a field of this role. */
  reads(role: ReadRole): boolean {
    return this.#slots.of[role].length > 0;
  }

  /** `start` and `end` bound the message in `buffer`, without gRPC's five bytes of framing. */
  read(buffer: Buffer, start: number, end: number): FieldValues | Malformed {
    this.#wire.begin(buffer, start);
    this.#depth = 0;
    this.#inputTokens = 0;
    this.#values.fill(undefined);
    const isWhole = this.#readMessage(this.#root, end, 0);
    this.#wire.release();
    return isWhole ? this.#result() : { malformed: this.#wire.fault };
  }

  #result(): FieldValues | Malformed {
    const { of } = this.#slots;
    const model = this.#oneText(of.model);
    const modelVersion = this.#oneText(of.modelVersion);
    if (model === null) return { malformed: 'the message names two different models' };
    if (modelVersion === null || contradicts(model, modelVersion))
      return { malformed: 'the message names two different versions of its model' };
    return {
      model,
      modelVersion,
      priority: this.#largest(of.priority),
      outputTokensLimit: this.#largest(of.outputTokensLimit),
      outputTokensUsed: this.#largest(of.outputTokensUsed),
      inputTokensUsed: this.#largest(of.inputTokensUsed),
      inputTokensBound: this.#inputTokens === 0 ? 0 : this.#inputTokens + TOKENS_AROUND_ALL,
    };
  }

  /** Null: the slots hold different texts. */
  #oneText(slots: readonly number[]): string | undefined | null {
    let text: string | undefined;
    for (const slot of slots) {
      const value = (this.#values[slot] ?? this.#slots.absent[slot]) as string | undefined;
      if (value === undefined) continue;
      if (text !== undefined && text !== value) return null;
      text = value;
    }
    return text;
  }

  #largest(slots: readonly number[]): number | undefined {
    let largest: number | undefined;
    for (const slot of slots) {
      const value = (this.#values[slot] ?? this.#slots.absent[slot]) as number | undefined;
      if (value !== undefined && (largest === undefined || value > largest)) largest = value;
    }
    return largest;
  }

  /** Reads fields up to `end`, or up to the end tag of group `group` where that is not 0. */
  #readMessage(message: MessageSteps, end: number, group: number): boolean {
    const wire = this.#wire;
    if (++this.#depth > DEPTH_MAX) return wire.fail(`messages nested more than ${DEPTH_MAX} deep`);
    while (wire.position < end) {
      const tag = wire.readTag(end);
      if (tag < 0) return false;
      const wireType = tag % 8;
      const number = (tag - wireType) / 8;
      if (wireType === END_GROUP && number === group) {
        this.#depth--;
        return true;
      }
      const step = message.get(number);
      if (step === undefined) {
        if (!wire.skip(number, wireType, end, this.#depth)) return false;
      } else if (wireType === step.wireType) {
        if (!this.#readField(step, number, end)) return false;
      } else if (step.kind === 'list' && wireType === LENGTH_DELIMITED) {
        if (!wire.skipPacked(step, end)) return false;
      } else
        return wire.fail(`${step.name} has wire type ${wireType} where the contract has ${step.wireType}`);
    }
    this.#depth--;
    return group === 0 || wire.fail(`group ${group} has no end`);
  }

  #readField(step: FieldStep, number: number, end: number): boolean {
    const wire = this.#wire;
    if (step.kind === 'list') return wire.skip(number, step.wireType, end, this.#depth);
    if (step.kind === 'input') {
      const length = wire.readLength(end);
      if (length < 0) return false;
      wire.position += length;
      this.#inputTokens += length + TOKENS_AROUND_TEXT;
    } else if (step.kind === 'other') {
      if (!wire.skip(number, step.wireType, end, this.#depth)) return false;
      if (step.closedTo !== undefined && !step.closedTo.has(wire.low)) return true;
    } else if (step.kind === 'message') {
      if (step.wireType === START_GROUP) {
        if (!this.#readMessage(step.child, end, number)) return false;
      } else {
        const length = wire.readLength(end);
        if (length < 0 || !this.#readMessage(step.child, wire.position + length, 0)) return false;
      }
    } else if (step.kind === 'string') {
      const text = this.#readString(step.name, end);
      if (text === undefined) return false;
      this.#values[step.slot] = text === '' && !step.hasPresence ? undefined : text;
    } else {
      if (!wire.readScalar(step.wireType, end)) return false;
      const value = this.#number(step.kind);
      // A closed enum keeps a value that it does not know among the unknown fields: nothing changes.
      if (step.closedTo !== undefined && !step.closedTo.has(value)) return true;
      this.#values[step.slot] = value === 0 && !step.hasPresence ? undefined : value;
    }
    for (const slot of step.clears) this.#values[slot] = undefined;
    return true;
  }

  #readString(name: string, end: number): string | undefined {
    const wire = this.#wire;
    const length = wire.readLength(end);
    if (length < 0) return undefined;
    const start = wire.position;
    wire.position = start + length;
    let isAscii = true;
    for (let i = start; i < wire.position && isAscii; i++) isAscii = (wire.buffer[i] as number) < 0x80;
    if (isAscii) return wire.buffer.toString('latin1', start, wire.position);
    try {
      return utf8.decode(wire.buffer.subarray(start, wire.position));
    } catch {
      wire.fail(`${name} is not valid UTF-8`);
      return undefined;
    }
  }

  #number(kind: Exclude<FieldStep['kind'], 'message' | 'string' | 'list' | 'other' | 'input'>): number {
    const { low, high } = this.#wire;
    switch (kind) {
      case 'int32':
        return low;
      case 'uint32':
        return low >>> 0;
      case 'sint32':
        return (low >>> 1) ^ -(low & 1);
      case 'int64':
        return high * TWO_POW_32 + (low >>> 0);
      case 'uint64':
        return (high >>> 0) * TWO_POW_32 + (low >>> 0);
      case 'sint64': {
        const sign = -(low & 1);
        return ((high >>> 1) ^ sign) * TWO_POW_32 + ((((low >>> 1) | (high << 31)) ^ sign) >>> 0);
      }
    }
  }
}

/** Whether a model named as `name@version` comes with another version beside it. */
function contradicts(model: string | undefined, version: string | undefined): boolean {
  if (model === undefined || version === undefined) return false;
  const at = model.indexOf('@');
  return at >= 0 && model.slice(at + 1) !== version;
}
