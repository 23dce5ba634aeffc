import { BinaryWriter } from '@bufbuild/protobuf/wire';
import type { Any } from './gen/google/protobuf/any.ts';
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
} from './gen/google/rpc/error_details.ts';
import { Status } from './gen/google/rpc/status.ts';

/** The trailer that carries google.rpc.Status, as gRPC libraries agree on it. */
export const STATUS_DETAILS_KEY = 'grpc-status-details-bin';

/** The domain of every ErrorInfo that Gatehouse sends. */
export const ERROR_DOMAIN = 'gatehouse.dev';
/** A BadRequest names at most this many fields; one entry more says how many were left out. */
const FIELD_VIOLATIONS_MAX = 16;
/** One description in a detail has at most this many characters, so that the trailer stays under 4 KiB. */
const DESCRIPTION_CHARACTERS_MAX = 160;

/** One for all, because a new one grows several times before it is large enough, and refusals come in floods. */
let sharedWriter = new BinaryWriter();

function encode<T>(
  type: { encode(message: T, writer: BinaryWriter): BinaryWriter },
  message: NoInfer<T>,
): Uint8Array {
  try {
    return type.encode(message, sharedWriter).finish();
  } catch (error) {
    // What it holds is half a message.
    sharedWriter = new BinaryWriter();
    throw error;
  }
}

/** The google.rpc details that may accompany a status, at most one of each kind. */
export interface StatusDetails {
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
 * Encodes google.rpc.Status for the `grpc-status-details-bin` trailer.
 * @returns the message's bytes (not base64), or null when there are no details
 */
export function encodeStatusDetails(code: number, message: string, details: StatusDetails): Buffer | null {
  const packed = packDetails(details);
  return packed.length === 0 ? null : asBuffer(encode(Status, { code, message, details: packed }));
}

/** Reads what encodeStatusDetails writes. What can't be decoded, or is of an unknown kind, is left out. */
export function decodeStatusDetails(encoded: Uint8Array): StatusDetails {
  try {
    return Object.assign({}, ...Status.decode(encoded).details.map(unpackDetail)) as StatusDetails;
  } catch {
    return {}; // The details came over the wire; that they are broken must not hide the status itself.
  }
}

function unpackDetail({ typeUrl, value }: Any): StatusDetails {
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

function packDetails(details: StatusDetails): Any[] {
  const packed: Any[] = [];
  const pack = (name: string, value: Uint8Array): void => {
    packed.push({ typeUrl: `type.googleapis.com/google.rpc.${name}`, value: asBuffer(value) });
  };
  const { errorInfo, badRequest, quotaFailure, retryDelayMs, preconditionFailure, resourceInfo } = details;
  if (errorInfo) {
    pack('ErrorInfo', encode(ErrorInfo, { metadata: {}, domain: ERROR_DOMAIN, ...errorInfo }));
  }
  if (badRequest) pack('BadRequest', encode(BadRequest, { fieldViolations: capped(badRequest) }));
  if (quotaFailure) pack('QuotaFailure', encode(QuotaFailure, { violations: [...quotaFailure] }));
  if (retryDelayMs !== undefined) {
    const wholeMs = Math.max(0, Math.ceil(retryDelayMs));
    const retryDelay = { seconds: BigInt(Math.floor(wholeMs / 1000)), nanos: (wholeMs % 1000) * 1e6 };
    pack('RetryInfo', encode(RetryInfo, { retryDelay }));
  }
  if (preconditionFailure) {
    pack('PreconditionFailure', encode(PreconditionFailure, { violations: [...preconditionFailure] }));
  }
  if (resourceInfo) {
    pack('ResourceInfo', encode(ResourceInfo, ResourceInfo.fromPartial(resourceInfo)));
  }
  return packed;
}

/** The same bytes. */
function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function capped(violations: readonly BadRequest_FieldViolation[]): BadRequest_FieldViolation[] {
  const kept = violations.slice(0, FIELD_VIOLATIONS_MAX).map(({ field, description }) => ({
    field,
    description:
      description.length > DESCRIPTION_CHARACTERS_MAX
        ? `${description.slice(0, DESCRIPTION_CHARACTERS_MAX - 1)}…`
        : description,
  }));
  const left = violations.length - kept.length;
  return left > 0 ? [...kept, { field: '', description: `and ${left} more` }] : kept;
}
