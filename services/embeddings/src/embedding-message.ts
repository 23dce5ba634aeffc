import { type Embedding, type EmbedOptions, Encoding, Truncation } from '@gatehouse/contracts/embeddings';
import type { Embedded } from './engine/embedder.ts';
import type { TruncationPolicy } from './engine/fit-tokens.ts';
import { normalize, toInt8 } from './engine/vector.ts';

/** The vector as the caller asked for it. Normalises in place. */
export function toEmbedding(
  { vector, inputTokens, truncated }: Embedded,
  options: EmbedOptions | undefined,
): Embedding {
  if (options?.normalize ?? true) normalize(vector);
  if (options?.encoding !== Encoding.ENCODING_INT8) {
    return { vector: { $case: 'float32', value: { values: toNumbers(vector) } }, inputTokens, truncated };
  }
  const { values, scale } = toInt8(vector);
  return {
    vector: { $case: 'int8', value: { values: Buffer.from(values.buffer), scale } },
    inputTokens,
    truncated,
  };
}

export function truncationPolicy(options: EmbedOptions | undefined): TruncationPolicy {
  switch (options?.truncation) {
    case Truncation.TRUNCATION_END:
      return 'end';
    case Truncation.TRUNCATION_START:
      return 'start';
    default:
      return 'fail';
  }
}

/** Many times as fast as spreading, which would be the longest stay on the RPC loop of a large answer. */
function toNumbers(vector: Float32Array): number[] {
  const numbers: number[] = [];
  for (let at = 0; at < vector.length; at += 1) numbers.push(vector[at]!);
  return numbers;
}
