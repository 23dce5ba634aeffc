import { RpcError } from '@gatehouse/service-kit';
import { status } from '@grpc/grpc-js';

/**
 * A node that has failed for good. Keeps the details of the cause: its reason and what else the callee said (the rule
 * that denied, the fields that are wrong), with the node's path added as `node`.
 */
export class NodeFailed extends RpcError {
  constructor(path: string, cause: RpcError) {
    const { errorInfo } = cause.details;
    super(
      cause.code,
      `Node ${path} failed: ${cause.message}`,
      {
        ...cause.details,
        errorInfo: {
          reason: 'NODE_FAILED',
          ...errorInfo,
          metadata: { ...errorInfo?.metadata, node: path },
        },
      },
      { cause },
    );
  }
}

/** Adds the node to a failure that has none yet: the innermost node is the one that failed. */
export function locate(error: RpcError, path: string): NodeFailed {
  return error instanceof NodeFailed ? error : new NodeFailed(path, error);
}

/** A limit of the execution was reached. */
export function limitReached(limit: string, max: number, sentence: string): RpcError {
  return new RpcError(status.RESOURCE_EXHAUSTED, sentence, {
    errorInfo: { reason: 'EXECUTION_LIMIT', metadata: { limit, max: String(max) } },
  });
}

/** A value is not there or not of the type that its place needs. */
export function valueUnfit(sentence: string): RpcError {
  return new RpcError(status.FAILED_PRECONDITION, sentence, { errorInfo: { reason: 'VALUE_UNFIT' } });
}

/** A node's own deadline has passed. */
export function nodeDeadlineExceeded(): RpcError {
  return new RpcError(status.DEADLINE_EXCEEDED, 'The deadline of the node has passed.', {
    errorInfo: { reason: 'NODE_DEADLINE_EXCEEDED' },
  });
}

/** What running nodes are cancelled with when one beside them has failed. */
export function besideFailed(): RpcError {
  return new RpcError(status.CANCELLED, 'Cancelled, because another node has failed.', {
    errorInfo: { reason: 'OTHER_NODE_FAILED' },
  });
}

/** A callee broke its contract: its answer stopped short or does not fit the request. */
export function answerBroken(sentence: string): RpcError {
  return new RpcError(status.INTERNAL, sentence, { errorInfo: { reason: 'ANSWER_BROKEN' } });
}
