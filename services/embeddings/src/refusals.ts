import { invalidArgument, RpcError } from '@gatehouse/service-kit';
import { status } from '@grpc/grpc-js';
import type { Embedder, EmbedOutcome } from './engine/embedder.ts';

/** A caller is asked to wait at least this long before it tries again. */
const retryDelayMsMin = 50;
/** And never longer than this: the queue is empty long before. */
const retryDelayMsMax = 30_000;

type Refused = Exclude<EmbedOutcome, { kind: 'embedded' }>;

/** @param fieldOf names the field of the request that holds the text */
export function refusal(
  outcome: Refused,
  { limits }: Embedder,
  fieldOf: (index: number) => string,
): RpcError {
  switch (outcome.kind) {
    case 'too-long':
      return invalidArgument(
        outcome.texts.map(({ index, tokens }) => ({
          field: fieldOf(index),
          description: `has ${tokens} tokens, at most ${limits.inputTokensMax} are taken without truncation`,
        })),
      );
    case 'queue-full': {
      const retryDelayMs = Math.min(Math.max(outcome.retryDelayMs, retryDelayMsMin), retryDelayMsMax);
      return new RpcError(
        status.RESOURCE_EXHAUSTED,
        `The model's queue holds at most ${limits.queueDepthMax} texts and has no room for these.`,
        { errorInfo: { reason: 'QUEUE_FULL' }, retryDelayMs },
      );
    }
  }
}

export function modelNotFound(model: string): RpcError {
  return new RpcError(status.NOT_FOUND, 'The model is not served here.', {
    errorInfo: { reason: 'MODEL_NOT_FOUND' },
    resourceInfo: { resourceType: 'model', resourceName: model },
  });
}
