import type { Any } from '@gatehouse/contracts/any';
import {
  BadRequest,
  type BadRequest_FieldViolation,
  ErrorInfo,
  PreconditionFailure,
  type PreconditionFailure_Violation,
  QuotaFailure,
  type QuotaFailure_Violation,
  ResourceInfo,
  RetryInfo,
} from '@gatehouse/contracts/rpc-error-details';
import { Status } from '@gatehouse/contracts/rpc-status';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';

/** The domain of every ErrorInfo that Gatehouse sends. */
const errorDomain = 'gatehouse.dev';
/** The trailer that carries google.rpc.Status, as gRPC libraries agree on it. */
const detailsKey = 'grpc-status-details-bin';
/** A BadRequest names at most this many fields; one entry more says how many were left out. */
const fieldViolationsMax = 16;
/** One description in a detail has at most this many characters, so that the trailer stays under 4 KiB. */
const descriptionCharsMax = 160;

/** The google.rpc details that may accompany a status, at most one of each kind. */
export interface ErrorDetails {
  /** `reason` in UPPER_SNAKE_CASE, constant for one cause. `domain` is gatehouse.dev unless given. */
  readonly errorInfo?: {
    readonly reason: string;
    readonly domain?: string;
    readonly metadata?: Record<string, string>;
  };
  /** `field` is a path as `chat.messages[2].content`. */
  readonly badRequest?: readonly BadRequest_FieldViolation[];
  readonly quotaFailure?: readonly QuotaFailure_Violation[];
  /** How long to wait before another try, in milliseconds. */
  readonly retryDelayMs?: number;
  readonly preconditionFailure?: readonly PreconditionFailure_Violation[];
  readonly resourceInfo?: Partial<ResourceInfo>;
}

/**
 * A call that ends with a gRPC status other than OK: thrown by handlers to refuse, and by egress channels when the
 * callee refused. `message` is one sentence that the caller may read: it holds no content of prompts or answers.
 */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: status;
  readonly details: ErrorDetails;

  constructor(code: status, sentence: string, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(sentence, options);
    this.code = code;
    this.details = details;
  }
}

/** INVALID_ARGUMENT with a BadRequest that names each field. */
export function invalidArgument(violations: readonly BadRequest_FieldViolation[]): RpcError {
  const fields = violations
    .slice(0, 3)
    .map(({ field, description }) => `${field || 'request'}: ${description}`);
  const more = violations.length > fields.length ? ` and ${violations.length - fields.length} more` : '';
  return new RpcError(
    status.INVALID_ARGUMENT,
    `The request is invalid: ${shorten(fields.join('; '), 3 * descriptionCharsMax)}${more}.`,
    {
      errorInfo: { reason: 'REQUEST_INVALID' },
      badRequest: violations,
    },
  );
}

/** What grpc-js sends for an error: the status, its sentence, and the details as a binary trailer. */
export function toStatus(error: RpcError): { code: status; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  const details = packDetails(error.details);
  if (details.length > 0) {
    const encoded = Status.encode({ code: error.code, message: error.message, details }).finish();
    metadata.set(detailsKey, Buffer.from(encoded));
  }
  return { code: error.code, details: error.message, metadata };
}

/** The error that a grpc-js client call failed with, details included. */
export function fromServiceError(error: ServiceError): RpcError {
  return new RpcError(error.code, error.details, readErrorDetails(error.metadata), { cause: error });
}

/** Reads the google.rpc details out of a call's trailers. Undecodable or unknown details are left out. */
export function readErrorDetails(trailers: Metadata | undefined): ErrorDetails {
  const encoded = trailers?.get(detailsKey)[0];
  if (!Buffer.isBuffer(encoded)) return {};
  try {
    return Object.assign({}, ...Status.decode(encoded).details.map(unpackDetail)) as ErrorDetails;
  } catch {
    return {}; // The details came over the wire; that they are broken must not hide the status itself.
  }
}

function unpackDetail({ typeUrl, value }: Any): ErrorDetails {
  switch (typeUrl.slice(typeUrl.lastIndexOf('/') + 1)) {
    case 'google.rpc.ErrorInfo':
      return { errorInfo: ErrorInfo.decode(value) };
    case 'google.rpc.BadRequest':
      return { badRequest: BadRequest.decode(value).fieldViolations };
    case 'google.rpc.QuotaFailure':
      return { quotaFailure: QuotaFailure.decode(value).violations };
    case 'google.rpc.PreconditionFailure':
      return { preconditionFailure: PreconditionFailure.decode(value).violations };
    case 'google.rpc.ResourceInfo':
      return { resourceInfo: ResourceInfo.decode(value) };
    case 'google.rpc.RetryInfo': {
      const delay = RetryInfo.decode(value).retryDelay;
      return { retryDelayMs: Number(delay?.seconds ?? 0n) * 1000 + (delay?.nanos ?? 0) / 1e6 };
    }
    default:
      return {};
  }
}

function packDetails(details: ErrorDetails): Any[] {
  const packed: Any[] = [];
  const pack = (name: string, value: Uint8Array) =>
    packed.push({ typeUrl: `type.googleapis.com/google.rpc.${name}`, value: Buffer.from(value) });
  const { errorInfo, badRequest, quotaFailure, retryDelayMs, preconditionFailure, resourceInfo } = details;
  if (errorInfo) {
    const info = { metadata: {}, domain: errorDomain, ...errorInfo };
    pack('ErrorInfo', ErrorInfo.encode(info).finish());
  }
  if (badRequest) {
    pack('BadRequest', BadRequest.encode({ fieldViolations: capped(badRequest) }).finish());
  }
  if (quotaFailure) {
    pack('QuotaFailure', QuotaFailure.encode({ violations: [...quotaFailure] }).finish());
  }
  if (retryDelayMs !== undefined) {
    const wholeMs = Math.max(0, Math.ceil(retryDelayMs));
    const retryDelay = { seconds: BigInt(Math.floor(wholeMs / 1000)), nanos: (wholeMs % 1000) * 1e6 };
    pack('RetryInfo', RetryInfo.encode({ retryDelay }).finish());
  }
  if (preconditionFailure) {
    pack(
      'PreconditionFailure',
      PreconditionFailure.encode({ violations: [...preconditionFailure] }).finish(),
    );
  }
  if (resourceInfo) {
    pack('ResourceInfo', ResourceInfo.encode(ResourceInfo.fromPartial(resourceInfo)).finish());
  }
  return packed;
}

function capped(violations: readonly BadRequest_FieldViolation[]): BadRequest_FieldViolation[] {
  const kept = violations
    .slice(0, fieldViolationsMax)
    .map(({ field, description }) => ({ field, description: shorten(description, descriptionCharsMax) }));
  const omitted = violations.length - kept.length;
  return omitted > 0 ? [...kept, { field: '', description: `${omitted} more fields are invalid` }] : kept;
}

function shorten(text: string, charsMax: number): string {
  return text.length <= charsMax ? text : `${text.slice(0, charsMax - 1)}…`;
}
