const VARINT = 0;
const FIXED64 = 1;
export const LENGTH_DELIMITED = 2;
export const START_GROUP = 3;
export const END_GROUP = 4;
const FIXED32 = 5;

/** What protobuf's own decoders allow. */
export const DEPTH_MAX = 100;
const FIELD_NUMBER_MAX = 0x1fff_ffff;
/** Held between messages, so that no message outlives its call here. */
const NO_BYTES: Buffer = Buffer.alloc(0);

/**
 * Steps through encoded protobuf, tag by tag (protobuf.dev/programming-guides/encoding). Tags and lengths must fit in 32
 * bits. What a method can't read it says in `fault`.
 */
export class WireReader {
  buffer: Buffer = NO_BYTES;
  position = 0;
  /** The last number that was read, in two halves of 32 bits, signed. */
  low = 0;
  high = 0;
  fault = '';

  begin(buffer: Buffer, start: number): void {
    this.buffer = buffer;
    this.position = start;
    this.fault = '';
  }

  release(): void {
    this.buffer = NO_BYTES;
  }

  /** Gives the tag, or -1. */
  readTag(end: number): number {
    // Most tags have one byte.
    const byte = this.position < end ? (this.buffer[this.position] as number) : 0;
    if (byte >= 8 && byte < 0x80) {
      this.position += 1;
      return byte;
    }
    if (!this.readVarint(end)) return -1;
    const tag = this.high === 0 ? this.low >>> 0 : -1;
    const number = (tag - (tag % 8)) / 8;
    if (number < 1 || number > FIELD_NUMBER_MAX) {
      this.fail('a tag with a field number out of range');
      return -1;
    }
    return tag;
  }

  /** Gives the length of a delimited field that ends within `end`, or -1. */
  readLength(end: number): number {
    if (!this.readVarint(end)) return -1;
    const length = this.high === 0 ? this.low >>> 0 : Number.POSITIVE_INFINITY;
    if (length > end - this.position) {
      this.fail('a field that is longer than its message');
      return -1;
    }
    return length;
  }

  /** Leaves the number in `low` and `high`. */
  readScalar(wireType: number, end: number): boolean {
    if (wireType === VARINT) return this.readVarint(end);
    const size = wireType === FIXED64 ? 8 : 4;
    if (end - this.position < size) return this.fail('the message ends inside a number');
    this.low = this.buffer.readInt32LE(this.position);
    this.high = size === 8 ? this.buffer.readInt32LE(this.position + 4) : 0;
    this.position += size;
    return true;
  }

  readVarint(end: number): boolean {
    const { buffer } = this;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.position >= end) return this.fail('the message ends inside a number');
      const byte = buffer[this.position++] as number;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high |= bits >> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        this.low = low;
        this.high = high;
        return true;
      }
    }
    return this.fail('a number of more than ten bytes');
  }

  /** Passes over packed numbers of this wire type, which have to end where the field ends. */
  skipPacked({ name, wireType }: { readonly name: string; readonly wireType: number }, end: number): boolean {
    const length = this.readLength(end);
    if (length < 0) return false;
    this.position += length;
    const isWhole =
      wireType === VARINT
        ? length === 0 || (this.buffer[this.position - 1] as number) < 0x80
        : length % (wireType === FIXED64 ? 8 : 4) === 0;
    return isWhole || this.fail(`${name} ends inside a number`);
  }

  /** Passes over one field whose tag has been read. @param depth of the message that it stands in */
  skip(number: number, wireType: number, end: number, depth: number): boolean {
    switch (wireType) {
      case VARINT:
        return this.readVarint(end);
      case FIXED64:
      case FIXED32:
        return this.readScalar(wireType, end);
      case LENGTH_DELIMITED: {
        const length = this.readLength(end);
        this.position += length;
        return length >= 0;
      }
      case START_GROUP:
        return this.#skipGroup(number, end, depth + 1);
      case END_GROUP:
        return this.fail(`an end tag of group ${number} out of place`);
      default:
        return this.fail(`wire type ${wireType}, which does not exist`);
    }
  }

  #skipGroup(group: number, end: number, depth: number): boolean {
    if (depth > DEPTH_MAX) return this.fail(`messages nested more than ${DEPTH_MAX} deep`);
    while (this.position < end) {
      const tag = this.readTag(end);
      if (tag < 0) return false;
      const wireType = tag % 8;
      const number = (tag - wireType) / 8;
      if (wireType === END_GROUP && number === group) return true;
      if (!this.skip(number, wireType, end, depth)) return false;
    }
    return this.fail(`group ${group} has no end`);
  }

  fail(fault: string): false {
    this.fault = fault;
    return false;
  }
}
