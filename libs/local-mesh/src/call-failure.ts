import type { Any } from '@gatehouse/contracts/any';
import {
  BadRequest,
  ErrorInfo,
  PreconditionFailure,
  QuotaFailure,
  ResourceInfo,
  RetryInfo,
} from '@gatehouse/contracts/rpc-error-details';
import { Status } from '@gatehouse/contracts/rpc-status';
import { type ServiceError, status } from '@grpc/grpc-js';

/** How a call failed, as its status and google.rpc details say. */
export type CallFailure = {
  /** The gRPC status as text: `PERMISSION_DENIED`. */
  readonly code: string;
  readonly message: string;
  /** ErrorInfo.reason; empty when the status has none. */
  readonly reason: string;
  /** ErrorInfo.metadata: the rule, the policy's version, the limit, … */
  readonly metadata: Readonly<Record<string, string>>;
  /** The other details, each as its type's short name and its fields. */
  readonly details: readonly { readonly type: string; readonly value: unknown }[];
};

const DETAIL_TYPES = { BadRequest, PreconditionFailure, QuotaFailure, ResourceInfo, RetryInfo } as const;
const DETAILS_KEY = 'grpc-status-details-bin';

export function readCallFailure(error: ServiceError): CallFailure {
  const info = detailsOf(error);
  const errorInfo = info.find((detail) => shortName(detail) === 'ErrorInfo');
  const { reason, metadata } = errorInfo === undefined ? EMPTY_INFO : ErrorInfo.decode(errorInfo.value);
  return {
    code: status[error.code] ?? String(error.code),
    message: error.details,
    reason,
    metadata,
    details: info.filter((detail) => detail !== errorInfo).map(readDetail),
  };
}

const EMPTY_INFO = { reason: '', metadata: {} };

function detailsOf(error: ServiceError): readonly Any[] {
  const [packed] = error.metadata?.get(DETAILS_KEY) ?? [];
  if (packed === undefined || typeof packed === 'string') return [];
  try {
    return Status.decode(packed).details;
  } catch {
    return [];
  }
}

function shortName(detail: Any): string {
  return detail.typeUrl.slice(detail.typeUrl.lastIndexOf('.') + 1);
}

function readDetail(detail: Any): { type: string; value: unknown } {
  const type = shortName(detail);
  if (!(type in DETAIL_TYPES)) return { type, value: detail.value.toString('base64') };
  const codec = DETAIL_TYPES[type as keyof typeof DETAIL_TYPES];
  return { type, value: codec.toJSON(codec.decode(detail.value) as never) };
}
