import { decodeStatusDetails, ERROR_DOMAIN, STATUS_DETAILS_KEY } from '@gatehouse/contracts';
import { ErrorCode, type Field } from '../http2/index.ts';
import type { FailureCause } from '../upstream/index.ts';
import { GrpcStatus } from './grpc-status.ts';

/** Why a final status counts against an endpoint; null when it does not (denials and bad requests never do). */
export function failureCauseOf(status: GrpcStatus): FailureCause | null {
  switch (status) {
    case GrpcStatus.INTERNAL:
    case GrpcStatus.DATA_LOSS:
      return 'internal';
    case GrpcStatus.UNAVAILABLE:
      return 'unavailable';
    case GrpcStatus.DEADLINE_EXCEEDED:
      return 'deadline';
    default:
      return null;
  }
}

/** Reasons with which the upstream's own sidecar refuses by policy, under a status that would count against the app. */
const POLICY_REASONS: ReadonlySet<string> = new Set(['TOKEN_KEYS_UNAVAILABLE', 'QUOTA_STORE_UNAVAILABLE']);

/** Whether a failure is a refusal by policy: it says nothing bad of the endpoint. */
export function isOfPolicy(trailers: readonly Field[]): boolean {
  const encoded = trailers.find(({ name }) => name === STATUS_DETAILS_KEY)?.value;
  if (encoded === undefined) return false;
  const { errorInfo } = decodeStatusDetails(Buffer.from(encoded, 'base64'));
  return errorInfo?.domain === ERROR_DOMAIN && POLICY_REASONS.has(errorInfo.reason);
}

/** The status of a call whose stream was reset (gRPC over HTTP/2, "Errors"). */
export function resetToGrpcStatus(code: number): GrpcStatus {
  switch (code) {
    case ErrorCode.REFUSED_STREAM:
      return GrpcStatus.UNAVAILABLE;
    case ErrorCode.CANCEL:
      return GrpcStatus.CANCELLED;
    case ErrorCode.ENHANCE_YOUR_CALM:
      return GrpcStatus.RESOURCE_EXHAUSTED;
    case ErrorCode.INADEQUATE_SECURITY:
      return GrpcStatus.PERMISSION_DENIED;
    default:
      return GrpcStatus.INTERNAL;
  }
}

/** The status of a response that is not gRPC (gRPC, "HTTP to gRPC Status Code Mapping"). */
export function httpToGrpcStatus(httpStatus: string): GrpcStatus {
  switch (httpStatus) {
    case '400':
      return GrpcStatus.INTERNAL;
    case '401':
      return GrpcStatus.UNAUTHENTICATED;
    case '403':
      return GrpcStatus.PERMISSION_DENIED;
    case '404':
      return GrpcStatus.UNIMPLEMENTED;
    case '429':
    case '502':
    case '503':
    case '504':
      return GrpcStatus.UNAVAILABLE;
    default:
      return GrpcStatus.UNKNOWN;
  }
}
