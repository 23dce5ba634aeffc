import {
  decodeStatusDetails,
  encodeStatusDetails,
  STATUS_DETAILS_KEY,
  type StatusDetails,
} from '@gatehouse/contracts';
import type { BadRequest_FieldViolation } from '@gatehouse/contracts/rpc-error-details';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';

/** A status's sentence quotes this much of the first violations. */
const violationsShownChars = 480;

/**
 * A call that ends with a gRPC status other than OK: thrown by handlers to refuse, and by egress channels when the
 * callee refused. `message` is one sentence that the caller may read: it holds no content of prompts or answers.
 */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: status;
  readonly details: StatusDetails;

  constructor(code: status, sentence: string, details: StatusDetails = {}, options?: ErrorOptions) {
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
    `The request is invalid: ${shorten(fields.join('; '), violationsShownChars)}${more}.`,
    {
      errorInfo: { reason: 'REQUEST_INVALID' },
      badRequest: violations,
    },
  );
}

/** What grpc-js sends for an error: the status, its sentence, and the details as a binary trailer. */
export function toStatus(error: RpcError): { code: status; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  const details = encodeStatusDetails(error.code, error.message, error.details);
  if (details !== null) metadata.set(STATUS_DETAILS_KEY, details);
  return { code: error.code, details: error.message, metadata };
}

/** The error that a grpc-js client call failed with, details included. */
export function fromServiceError(error: ServiceError): RpcError {
  return new RpcError(error.code, error.details, readErrorDetails(error.metadata), { cause: error });
}

/** Reads the google.rpc details out of a call's trailers. Undecodable or unknown details are left out. */
export function readErrorDetails(trailers: Metadata | undefined): StatusDetails {
  const encoded = trailers?.get(STATUS_DETAILS_KEY)[0];
  return Buffer.isBuffer(encoded) ? decodeStatusDetails(encoded) : {};
}

function shorten(text: string, charsMax: number): string {
  return text.length <= charsMax ? text : `${text.slice(0, charsMax - 1)}…`;
}
