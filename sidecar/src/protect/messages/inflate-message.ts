import { constants, gunzipSync, inflateSync } from 'node:zlib';

/** A message may grow at most this much when it is inflated. */
const INFLATE_RATIO_MAX = 100;

/** What would have had to come. */
export interface NotInflated {
  readonly field: 'grpc-encoding' | 'message';
  readonly expected: string;
}

/**
 * Inflates one compressed message (gRPC over HTTP/2, "Message-Encoding"), within a size and a ratio.
 * @param compressed without its five bytes of framing
 */
export function inflateMessage(compressed: Buffer, encoding: string, bytesMax: number): Buffer | NotInflated {
  const maxOutputLength = Math.max(1, Math.min(bytesMax, compressed.length * INFLATE_RATIO_MAX));
  try {
    switch (encoding) {
      case 'gzip':
        return gunzipSync(compressed, { maxOutputLength, finishFlush: constants.Z_FINISH });
      case 'deflate':
        return inflateSync(compressed, { maxOutputLength, finishFlush: constants.Z_FINISH });
      default:
        return {
          field: 'grpc-encoding',
          expected: 'identity, gzip or deflate: policy has to read the message',
        };
    }
  } catch {
    return { field: 'message', expected: `${encoding} of at most ${maxOutputLength} bytes inflated` };
  }
}
