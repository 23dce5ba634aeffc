import {
  decodeStatusDetails,
  STATUS_DETAILS_KEY,
  type StatusDetails,
} from '@gatehouse/contracts/status-details';
import { type Metadata, status } from '@grpc/grpc-js';

/** What grpc-js rejects calls with. */
type ServiceError = Error & {
  readonly code: number;
  readonly details: string;
  readonly metadata?: Metadata;
};

/** A call that failed, with what the mesh or the service said of it (google.rpc details). */
export class CallFailure extends Error {
  override readonly name = 'CallFailure';
  /** The gRPC status. */
  readonly code: status;
  /** Its name: `PERMISSION_DENIED`. */
  readonly codeName: string;
  /** ErrorInfo.reason, constant for one cause: `NO_MATCHING_RULE`. Empty where nothing was said. */
  readonly reason: string;
  /** ErrorInfo.metadata. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The policy rule that decided; empty where none did. */
  readonly ruleId: string;
  /** Look this up in the sidecar's decision list and in the audit records. */
  readonly decisionId: string;
  /** Look this up in Jaeger. */
  readonly traceId: string;
  /** When to try again, in milliseconds; null: that was not said. */
  readonly retryDelayMs: number | null;
  /** Fields of the request that are wrong. */
  readonly badFields: readonly { readonly field: string; readonly description: string }[];
  /** Limits that are used up. */
  readonly quota: readonly { readonly subject: string; readonly description: string }[];

  constructor(cause: ServiceError, details: StatusDetails) {
    super(cause.details === '' ? cause.message : cause.details, { cause });
    const { errorInfo, retryDelayMs, badRequest = [], quotaFailure = [] } = details;
    const metadata = errorInfo?.metadata ?? {};
    this.code = cause.code;
    this.codeName = status[cause.code] ?? String(cause.code);
    this.reason = errorInfo?.reason ?? '';
    this.metadata = metadata;
    this.ruleId = metadata['rule'] ?? '';
    this.decisionId = metadata['decision_id'] ?? '';
    this.traceId = metadata['trace_id'] ?? '';
    this.retryDelayMs = retryDelayMs ?? null;
    this.badFields = badRequest.map(({ field, description }) => ({ field, description }));
    this.quota = quotaFailure.map(({ subject, description }) => ({ subject, description }));
  }
}

/** What a call was rejected with, as a CallFailure; anything else as it is. Meant for `catch`. */
export function toCallFailure(error: unknown): unknown {
  if (!isServiceError(error)) return error;
  const [encoded] = error.metadata?.get(STATUS_DETAILS_KEY) ?? [];
  return new CallFailure(error, Buffer.isBuffer(encoded) ? decodeStatusDetails(encoded) : {});
}

function isServiceError(error: unknown): error is ServiceError {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'number' &&
    'details' in error &&
    typeof error.details === 'string'
  );
}
