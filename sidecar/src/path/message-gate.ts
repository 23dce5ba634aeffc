import { constants, gunzipSync, inflateSync } from 'node:zlib';
import type { ContractMethod, FieldReader, FieldValues } from '@gatehouse/contracts';
import type { Refusal } from './refusal.ts';

const HEAD_BYTES = 5;
/** A message may grow at most this much when it is inflated. */
const INFLATE_RATIO_MAX = 100;

/** A whole message at the front of `bytes`, framing included, or null when it is not all there. */
export function firstMessageBytes(bytes: Buffer): number | null {
  if (bytes.length < HEAD_BYTES) return null;
  const total = HEAD_BYTES + bytes.readUInt32BE(1);
  return bytes.length >= total ? total : null;
}

/**
 * Reads what policy wants to know of one whole message. A compressed message is inflated for this alone, within the
 * method's size limit and a ratio; the bytes that go on are the ones that came.
 * @param framed the message with its five bytes of framing
 */
export function readMessage(framed: Buffer, method: ContractMethod, encoding: string): FieldValues | Refusal {
  const reader = method.requestFields as FieldReader;
  const body =
    framed[0] === 1 ? inflate(framed.subarray(HEAD_BYTES), encoding, method.requestBytesMax) : framed;
  if ('kind' in body) return body;
  const values =
    body === framed ? reader.read(framed, HEAD_BYTES, framed.length) : reader.read(body, 0, body.length);
  return 'malformed' in values
    ? {
        kind: 'malformed',
        field: 'message',
        expected: `protobuf of ${method.path}'s request (${values.malformed})`,
      }
    : values;
}

function inflate(compressed: Buffer, encoding: string, bytesMax: number): Buffer | Refusal {
  const maxOutputLength = Math.max(1, Math.min(bytesMax, compressed.length * INFLATE_RATIO_MAX));
  try {
    switch (encoding) {
      case 'gzip':
        return gunzipSync(compressed, { maxOutputLength, finishFlush: constants.Z_FINISH });
      case 'deflate':
        return inflateSync(compressed, { maxOutputLength, finishFlush: constants.Z_FINISH });
      default:
        return {
          kind: 'malformed',
          field: 'grpc-encoding',
          expected: 'identity, gzip or deflate: policy has to read the message',
        };
    }
  } catch {
    return {
      kind: 'malformed',
      field: 'message',
      expected: `${encoding} of at most ${maxOutputLength} bytes inflated`,
    };
  }
}

/** Cuts a stream of bytes into whole messages. Holds back the last, incomplete one. */
export class MessageGate {
  #held: Buffer = Buffer.alloc(0);

  get heldBytes(): number {
    return this.#held.length;
  }

  /** @returns the messages that are whole now, framing included */
  push(chunk: Buffer, start: number, end: number): Buffer[] {
    let bytes = Buffer.concat([this.#held, chunk.subarray(start, end)]);
    const whole: Buffer[] = [];
    for (let size = firstMessageBytes(bytes); size !== null; size = firstMessageBytes(bytes)) {
      whole.push(bytes.subarray(0, size));
      bytes = bytes.subarray(size);
    }
    this.#held = bytes;
    return whole;
  }
}
