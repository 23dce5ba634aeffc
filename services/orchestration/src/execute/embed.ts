import { Encoding, Truncation } from '@gatehouse/contracts/embeddings';
import type { EmbedAction, RetrieveAction } from '../graph/plan.ts';
import type { Json } from '../graph/types.ts';
import type { Attempt } from './attempt.ts';
import { answerBroken, limitReached, valueUnfit } from './failures.ts';
import { type Scope, textOf, textsOf, valueOf } from './scope.ts';

/** A vector for a text, a list of vectors for a list of texts. A text over the model's limit fails the node. */
export async function embed(action: EmbedAction, scope: Scope, attempt: Attempt): Promise<Json> {
  const { textBytesMax, embedInputsMax } = attempt.execution.limits;
  const single = typeof valueOf(action.input, scope, textBytesMax) === 'string';
  const inputs = single
    ? [textOf(action.input, scope, textBytesMax)]
    : textsOf(action.input, scope, textBytesMax);
  if (inputs.length > embedInputsMax) {
    throw limitReached('embedInputsMax', embedInputsMax, `A node embeds more than ${embedInputsMax} texts.`);
  }
  const vectors = await vectorsOf(inputs, Truncation.TRUNCATION_FAIL, attempt);
  return single ? (vectors[0] ?? []) : vectors;
}

/**
 * The `topK` passages nearest to the query by cosine, nearest first; equally near ones in the order given. Query and
 * passages go in one call. Passages over the model's limit are judged by their beginning.
 */
export async function retrieve(action: RetrieveAction, scope: Scope, attempt: Attempt): Promise<Json> {
  const { textBytesMax, passagesMax } = attempt.execution.limits;
  const query = textOf(action.query, scope, textBytesMax);
  const passages = textsOf(action.passages, scope, textBytesMax);
  if (passages.length > passagesMax) {
    throw limitReached('passagesMax', passagesMax, `A node searches more than ${passagesMax} passages.`);
  }
  if (passages.length === 0) return [];
  const [wanted = [], ...given] = await vectorsOf([query, ...passages], Truncation.TRUNCATION_END, attempt);
  return passages
    .map((passage, index) => ({ index, passage, score: cosine(wanted, given[index] ?? []) }))
    .sort((one, other) => other.score - one.score || one.index - other.index)
    .slice(0, action.topK);
}

async function vectorsOf(
  inputs: readonly string[],
  truncation: Truncation,
  { execution, run, model }: Attempt,
): Promise<readonly (readonly number[])[]> {
  if (inputs.length === 0) return [];
  const empty = inputs.indexOf('');
  if (empty >= 0) throw valueUnfit('An empty text cannot be embedded.');
  const options = { truncation, normalize: true, encoding: Encoding.ENCODING_FLOAT32 };
  const response = await execution.calls.embed({ model, inputs: [...inputs], options }, run);
  execution.usage.inputTokens += response.inputTokens;
  const vectors = response.embeddings.map(({ vector }) =>
    vector?.$case === 'float32' ? vector.value.values : [],
  );
  const dimensions = vectors[0]?.length ?? 0;
  if (
    vectors.length !== inputs.length ||
    dimensions === 0 ||
    vectors.some(({ length }) => length !== dimensions)
  ) {
    throw answerBroken('The embeddings do not fit what was asked for.');
  }
  return vectors;
}

/** -1 to 1; 0 where a vector has no direction. */
function cosine(one: readonly number[], other: readonly number[]): number {
  let product = 0;
  let oneSquares = 0;
  let otherSquares = 0;
  for (const [at, a] of one.entries()) {
    const b = other[at] ?? 0;
    product += a * b;
    oneSquares += a * a;
    otherSquares += b * b;
  }
  const lengths = Math.sqrt(oneSquares * otherSquares);
  return lengths === 0 ? 0 : product / lengths;
}
