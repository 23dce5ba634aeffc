import { ScalarType } from '@bufbuild/protobuf';

const bits = new DataView(new ArrayBuffer(8));

/** A number as people write it, without an exponent where it is whole. @param halves of its 64 bits, as on the wire */
export function numberText(
  scalar: ScalarType,
  halves: { readonly low: number; readonly high: number },
): string {
  bits.setInt32(0, halves.low, true);
  bits.setInt32(4, halves.high, true);
  switch (scalar) {
    case ScalarType.DOUBLE: {
      const value = bits.getFloat64(0, true);
      return Number.isInteger(value) ? BigInt(value).toString() : String(value);
    }
    case ScalarType.SINT64: {
      const zigzag = bits.getBigUint64(0, true);
      return ((zigzag >> 1n) ^ -(zigzag & 1n)).toString();
    }
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return bits.getBigUint64(0, true).toString();
    default:
      return bits.getBigInt64(0, true).toString();
  }
}
