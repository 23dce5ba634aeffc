import type { NodeEnded } from '@gatehouse/contracts/orchestration';
import { RpcError } from '@gatehouse/service-kit';
import { ATTRIBUTES } from '@gatehouse/telemetry';
import { status } from '@grpc/grpc-js';
import { context, type Span, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Json } from '../graph/types.ts';
import type { Tries } from './attempts.ts';
import type { Execution } from './execution.ts';

/** A node to tell of; `tries` is read when it has ended. */
export interface ObservedNode {
  readonly path: string;
  readonly kind: string;
  readonly tries: Tries;
  readonly execution: Execution;
}

/** What a node answers; with `failure` the value is its fallback's. */
interface Answered {
  readonly value: Json;
  readonly failure?: RpcError;
}

/** Runs a node inside a span of its own, and tells when it starts and how it ends. Content goes into neither. */
export async function observeNode(node: ObservedNode, task: () => Promise<Answered>): Promise<Json> {
  const { path, kind, tries, execution } = node;
  const span = trace.getTracer('gatehouse.orchestration').startSpan(`node ${kind}`, {
    attributes: { [ATTRIBUTES.nodePath]: path, [ATTRIBUTES.nodeKind]: kind },
  });
  return context.with(trace.setSpan(context.active(), span), async () => {
    const startedAt = execution.now();
    let failure: unknown;
    let fellBack = false;
    try {
      await execution.emit({ $case: 'nodeStarted', value: { path, kind } });
      const answered = await task();
      failure = answered.failure;
      fellBack = failure !== undefined;
      return answered.value;
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      endSpan(span, failure, fellBack);
      const ended: NodeEnded = {
        path,
        status: statusOf(failure),
        took: durationOf(execution.now() - startedAt),
        attempts: tries.count,
        fellBack,
      };
      await execution.emit({ $case: 'nodeEnded', value: ended });
    }
  });
}

function endSpan(span: Span, failure: unknown, fellBack: boolean): void {
  if (failure !== undefined) {
    span.setAttribute(ATTRIBUTES.errorType, reasonOf(failure));
    if (!fellBack) span.setStatus({ code: SpanStatusCode.ERROR });
  }
  span.end();
}

function reasonOf(failure: unknown): string {
  if (!(failure instanceof RpcError)) return 'INTERNAL';
  return failure.details.errorInfo?.reason ?? status[failure.code];
}

function statusOf(failure: unknown): NonNullable<NodeEnded['status']> {
  if (failure === undefined) return { code: status.OK, message: '', details: [] };
  return failure instanceof RpcError
    ? { code: failure.code, message: failure.message, details: [] }
    : { code: status.INTERNAL, message: 'The node failed.', details: [] };
}

function durationOf(ms: number): { seconds: bigint; nanos: number } {
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: Math.round((ms % 1000) * 1e6) };
}
