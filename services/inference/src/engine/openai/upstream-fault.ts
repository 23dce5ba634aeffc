import { RpcError } from '@gatehouse/service-kit';
import { status } from '@grpc/grpc-js';

/** RetryInfo where an upstream's 429 says nothing, and the most that it is believed. */
const retryDelayMsDefault = 1000;
const retryDelayMsMax = 300_000;

/** What went wrong at the upstream, as the caller learns it. Never the upstream's own words: they can quote the prompt. */
export type UpstreamFault =
  | { readonly kind: 'unreachable'; readonly cause: string }
  | { readonly kind: 'status'; readonly httpStatus: number; readonly retryAfter: string | null }
  /** The answer ended before the upstream said that it is whole. */
  | { readonly kind: 'cut'; readonly outputTokens: number }
  | { readonly kind: 'malformed'; readonly what: string }
  /** An error event within the answer. */
  | { readonly kind: 'failed'; readonly outputTokens: number };

/** @param now milliseconds since the epoch, to read a Retry-After that is a date */
export function upstreamError(model: string, fault: UpstreamFault, now: number): RpcError {
  const metadata = { model };
  switch (fault.kind) {
    case 'unreachable':
      return error(
        status.UNAVAILABLE,
        'UPSTREAM_UNREACHABLE',
        `The upstream of model ${model} cannot be reached.`,
        {
          ...metadata,
          cause: fault.cause,
        },
      );
    case 'status':
      return statusError(model, fault, now);
    case 'cut':
      return error(
        status.UNAVAILABLE,
        'UPSTREAM_CUT',
        `The upstream of model ${model} broke off its answer after ${fault.outputTokens} tokens.`,
        { ...metadata, outputTokens: String(fault.outputTokens) },
      );
    case 'failed':
      return error(
        status.UNAVAILABLE,
        'UPSTREAM_FAILED',
        `The upstream of model ${model} reported an error after ${fault.outputTokens} tokens.`,
        { ...metadata, outputTokens: String(fault.outputTokens) },
      );
    case 'malformed':
      return error(
        status.INTERNAL,
        'UPSTREAM_MALFORMED',
        `The upstream of model ${model} sent ${fault.what}.`,
        metadata,
      );
  }
}

function statusError(
  model: string,
  fault: Extract<UpstreamFault, { kind: 'status' }>,
  now: number,
): RpcError {
  const { httpStatus } = fault;
  const metadata = { model, httpStatus: String(httpStatus) };
  const sentence = `The upstream of model ${model} answered with HTTP status ${httpStatus}.`;
  if (httpStatus === 429) {
    return new RpcError(status.RESOURCE_EXHAUSTED, sentence, {
      errorInfo: { reason: 'UPSTREAM_BUSY', metadata },
      retryDelayMs: retryDelayMs(fault.retryAfter, now),
      quotaFailure: [{ subject: `model:${model}`, description: 'the upstream takes no more calls for now' }],
    });
  }
  if (httpStatus === 400 || httpStatus === 413 || httpStatus === 422) {
    return error(status.INVALID_ARGUMENT, 'UPSTREAM_REFUSED', sentence, metadata);
  }
  if (httpStatus === 408 || (httpStatus >= 502 && httpStatus <= 504)) {
    return error(status.UNAVAILABLE, 'UPSTREAM_UNAVAILABLE', sentence, metadata);
  }
  return error(status.INTERNAL, 'UPSTREAM_ERROR', sentence, metadata); // 500, and what only the operator can mend.
}

/** Retry-After is in seconds or an HTTP date (RFC 9110 §10.2.3). */
function retryDelayMs(retryAfter: string | null, now: number): number {
  const value = retryAfter?.trim() ?? '';
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isFinite(ms) ? Math.min(retryDelayMsMax, Math.max(0, ms)) : retryDelayMsDefault;
}

function error(code: status, reason: string, sentence: string, metadata: Record<string, string>): RpcError {
  return new RpcError(code, sentence, { errorInfo: { reason, metadata } });
}
