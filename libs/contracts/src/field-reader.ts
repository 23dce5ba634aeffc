import type { FieldStep, MessageSteps, ReadRole, RoleSlots } from './field-steps.ts';

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
}

/** The message cannot be read in one way only; the sentence says why. */
export interface Malformed {
  readonly malformed: string;
}

/** What protobuf's own decoders allow. */
const DEPTH_MAX = 100;
/** Held between messages, so that no message outlives its call here. */
const NO_BYTES = Buffer.alloc(0);
const NO_STEPS: MessageSteps = new Map();
const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const START_GROUP = 3;
const END_GROUP = 4;
const FIXED32 = 5;
const FIELD_NUMBER_MAX = 0x1fff_ffff;
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
  #buffer: Buffer = NO_BYTES;
  #position = 0;
  #depth = 0;
  #low = 0;
  #high = 0;
  #fault = '';

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
    this.#buffer = buffer;
    this.#position = start;
    this.#depth = 0;
    this.#fault = '';
    this.#values.fill(undefined);
    const isWhole = this.#readMessage(this.#root, end, 0);
    this.#buffer = NO_BYTES;
    return isWhole ? this.#result() : { malformed: this.#fault };
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
    if (++this.#depth > DEPTH_MAX) return this.#fail(`messages nested more than ${DEPTH_MAX} deep`);
    while (this.#position < end) {
      const tag = this.#readTag(end);
      if (tag < 0) return false;
      const wireType = tag % 8;
      const number = (tag - wireType) / 8;
      if (wireType === END_GROUP && number === group) {
        this.#depth--;
        return true;
      }
      const step = message.get(number);
      if (step === undefined) {
        if (!this.#skip(number, wireType, end)) return false;
      } else if (wireType === step.wireType) {
        if (!this.#readField(step, number, end)) return false;
      } else if (step.kind === 'list' && wireType === LENGTH_DELIMITED) {
        if (!this.#passPacked(step, end)) return false;
      } else
        return this.#fail(`${step.name} has wire type ${wireType} where the contract has ${step.wireType}`);
    }
    this.#depth--;
    return group === 0 || this.#fail(`group ${group} has no end`);
  }

  #readField(step: FieldStep, number: number, end: number): boolean {
    if (step.kind === 'list') return this.#skip(number, step.wireType, end);
    if (step.kind === 'other') {
      if (!this.#skip(number, step.wireType, end)) return false;
      if (step.closedTo !== undefined && !step.closedTo.has(this.#low)) return true;
    } else if (step.kind === 'message') {
      if (step.wireType === START_GROUP) {
        if (!this.#readMessage(step.child, end, number)) return false;
      } else {
        const length = this.#readLength(end);
        if (length < 0 || !this.#readMessage(step.child, this.#position + length, 0)) return false;
      }
    } else if (step.kind === 'string') {
      const text = this.#readString(step.name, end);
      if (text === undefined) return false;
      this.#values[step.slot] = text === '' && !step.hasPresence ? undefined : text;
    } else {
      if (!this.#readScalar(step.wireType, end)) return false;
      const value = this.#number(step.kind);
      // A closed enum keeps a value that it does not know among the unknown fields: nothing changes.
      if (step.closedTo !== undefined && !step.closedTo.has(value)) return true;
      this.#values[step.slot] = value === 0 && !step.hasPresence ? undefined : value;
    }
    for (const slot of step.clears) this.#values[slot] = undefined;
    return true;
  }

  /** Packed numbers have to end where the field ends. */
  #passPacked(step: FieldStep, end: number): boolean {
    const length = this.#readLength(end);
    if (length < 0) return false;
    this.#position += length;
    const size = step.wireType === FIXED64 ? 8 : 4;
    const isWhole =
      step.wireType === VARINT
        ? length === 0 || (this.#buffer[this.#position - 1] as number) < 0x80
        : length % size === 0;
    return isWhole || this.#fail(`${step.name} ends inside a number`);
  }

  /** Gives the tag, or -1. */
  #readTag(end: number): number {
    if (!this.#readVarint(end)) return -1;
    const tag = this.#high === 0 ? this.#low >>> 0 : -1;
    const number = (tag - (tag % 8)) / 8;
    if (number < 1 || number > FIELD_NUMBER_MAX) {
      this.#fail('a tag with a field number out of range');
      return -1;
    }
    return tag;
  }

  /** Gives the length of a delimited field that ends within `end`, or -1. */
  #readLength(end: number): number {
    if (!this.#readVarint(end)) return -1;
    const length = this.#high === 0 ? this.#low >>> 0 : Infinity;
    if (length > end - this.#position) {
      this.#fail('a field that is longer than its message');
      return -1;
    }
    return length;
  }

  #readString(name: string, end: number): string | undefined {
    const length = this.#readLength(end);
    if (length < 0) return undefined;
    const start = this.#position;
    this.#position = start + length;
    let isAscii = true;
    for (let i = start; i < this.#position && isAscii; i++) isAscii = (this.#buffer[i] as number) < 0x80;
    if (isAscii) return this.#buffer.toString('latin1', start, this.#position);
    try {
      return utf8.decode(this.#buffer.subarray(start, this.#position));
    } catch {
      this.#fail(`${name} is not valid UTF-8`);
      return undefined;
    }
  }

  /** Leaves the number in #low and #high. */
  #readScalar(wireType: number, end: number): boolean {
    if (wireType === VARINT) return this.#readVarint(end);
    const size = wireType === FIXED64 ? 8 : 4;
    if (end - this.#position < size) return this.#fail('the message ends inside a number');
    this.#low = this.#buffer.readInt32LE(this.#position);
    this.#high = size === 8 ? this.#buffer.readInt32LE(this.#position + 4) : 0;
    this.#position += size;
    return true;
  }

  #readVarint(end: number): boolean {
    const buffer = this.#buffer;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.#position >= end) return this.#fail('the message ends inside a number');
      const byte = buffer[this.#position++] as number;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high |= bits >> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        this.#low = low;
        this.#high = high;
        return true;
      }
    }
    return this.#fail('a number of more than ten bytes');
  }

  #number(kind: Exclude<FieldStep['kind'], 'message' | 'string' | 'list' | 'other'>): number {
    const low = this.#low;
    const high = this.#high;
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

  #skip(number: number, wireType: number, end: number): boolean {
    switch (wireType) {
      case VARINT:
        return this.#readVarint(end);
      case FIXED64:
      case FIXED32:
        return this.#readScalar(wireType, end);
      case LENGTH_DELIMITED: {
        const length = this.#readLength(end);
        this.#position += length;
        return length >= 0;
      }
      case START_GROUP:
        return this.#readMessage(NO_STEPS, end, number);
      case END_GROUP:
        return this.#fail(`an end tag of group ${number} out of place`);
      default:
        return this.#fail(`wire type ${wireType}, which does not exist`);
    }
  }

  #fail(fault: string): false {
    this.#fault = fault;
    return false;
  }
}

/** Whether a model named as `name@version` comes with another version beside it. */
function contradicts(model: string | undefined, version: string | undefined): boolean {
  if (model === undefined || version === undefined) return false;
  const at = model.indexOf('@');
  return at >= 0 && model.slice(at + 1) !== version;
}
