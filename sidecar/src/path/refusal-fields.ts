import { encodeStatusDetails, encodeStatusMessage, STATUS_DETAILS_KEY } from '@gatehouse/contracts';
import { type Field, field } from '../http2/index.ts';
import type { RefusalStatus } from './refusal-status.ts';

/** The google.rpc.Status of a refusal, before base64; a larger one is left out, because peers bound their header lists. */
const DETAILS_BYTES_MAX = 4096;

const HEAD: readonly Field[] = [field(':status', '200'), field('content-type', 'application/grpc')];
const STATUS_FIELDS: readonly Field[] = Array.from({ length: 17 }, (_, code) =>
  field('grpc-status', String(code)),
);

/** A trailers-only response (gRPC over HTTP/2, "Responses") for a call whose head was not answered yet. */
export function refusalHead(status: RefusalStatus, metadata: Record<string, string>): Field[] {
  return [...HEAD, ...refusalTrailers(status, metadata)];
}

/** The trailers that end a call whose head was answered already. */
export function refusalTrailers(status: RefusalStatus, metadata: Record<string, string>): Field[] {
  const fields = [
    STATUS_FIELDS[status.code] as Field,
    field('grpc-message', encodeStatusMessage(status.message)),
  ];
  const details = encodeStatusDetails(status.code, status.message, {
    ...status.details,
    errorInfo: { reason: status.reason, metadata },
  });
  if (details !== null && details.length <= DETAILS_BYTES_MAX) {
    fields.push(field(STATUS_DETAILS_KEY, details.toString('base64').replace(/=+$/, '')));
  }
  return fields;
}

/** For callers that take only few fields: the status and its sentence. */
export function withoutDetails(fields: readonly Field[]): Field[] {
  return fields.filter(({ name }) => name !== STATUS_DETAILS_KEY);
}

/** A response to something that is not gRPC (gRPC over HTTP/2, "content-type": 415). */
export function httpRefusalHead(httpStatus: number): Field[] {
  return [field(':status', String(httpStatus))];
}
