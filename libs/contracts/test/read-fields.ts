import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { type Contract, type FieldReader, loadContract } from '../src/index.ts';

/** The contract of a descriptor set that is good. */
export function load(descriptorSet: Uint8Array): Contract {
  const loaded = loadContract({ descriptorSet });
  if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
  return loaded.contract;
}

/** The reader of a method’s requests. */
export function readerOf(from: Contract, path: string): FieldReader {
  const found = from.methods.get(path)?.requestFields;
  if (!found) throw new Error(`${path} has no reader`);
  return found;
}

/** Writes one field of a message. */
export type Part = (writer: BinaryWriter) => BinaryWriter;

export function bytes(...parts: Part[]): Buffer {
  return Buffer.from(parts.reduce((writer, part) => part(writer), new BinaryWriter()).finish());
}

export const text =
  (number: number, value: string): Part =>
  (writer) =>
    writer.tag(number, 2).string(value);
export const varint =
  (number: number, value: number): Part =>
  (writer) =>
    writer.tag(number, 0).int32(value);
export const message =
  (number: number, ...parts: Part[]): Part =>
  (writer) =>
    writer.tag(number, 2).bytes(bytes(...parts));
export const group =
  (number: number, ...parts: Part[]): Part =>
  (writer) =>
    writer
      .tag(number, 3)
      .raw(bytes(...parts))
      .tag(number, 4);
