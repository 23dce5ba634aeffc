import { encodeStatusDetails, STATUS_DETAILS_KEY, type StatusDetails } from '@gatehouse/contracts';
import { type Field, field } from '../http2/index.ts';
import type { Call } from './call.ts';
import { GrpcStatus } from './grpc-status.ts';

/** Why a call goes no further, with the facts that the caller needs to act on it. */
export type Refusal =
  | { readonly kind: 'not-grpc'; readonly httpStatus: 405 | 415; readonly detail: string }
  | { readonly kind: 'unknown-method' }
  | { readonly kind: 'malformed'; readonly field: string; readonly expected: string }
  | { readonly kind: 'identity-stale'; readonly reason: 'EXPIRED' | 'UNTRUSTED_ISSUER' }
  | { readonly kind: 'token'; readonly reason: string; readonly sentence: string }
  | { readonly kind: 'keys-unavailable'; readonly issuer: string }
  | { readonly kind: 'denied'; readonly reason: string; readonly sentence: string }
  | {
      readonly kind: 'message-too-large';
      readonly side: 'request' | 'response';
      readonly bytes: number;
      readonly limitBytes: number;
    }
  | { readonly kind: 'first-message-late'; readonly limitMs: number }
  | {
      readonly kind: 'overloaded';
      readonly limit: string;
      readonly max: number;
      readonly retryDelayMs: number;
    }
  | { readonly kind: 'unknown-upstream' }
  | { readonly kind: 'circuit-open'; readonly retryDelayMs: number }
  | { readonly kind: 'upstream-unreachable'; readonly cause: string }
  | { readonly kind: 'upstream-reset'; readonly status: GrpcStatus; readonly cause: string }
  | { readonly kind: 'upstream-malformed'; readonly cause: string }
  | { readonly kind: 'deadline' }
  | { readonly kind: 'draining' }
  | { readonly kind: 'bug' };

/** What a refusal is on the wire. */
export type RefusalStatus = {
  readonly code: GrpcStatus;
  /** ErrorInfo.reason. */
  readonly reason: string;
  /** One sentence that the caller can act on. */
  readonly message: string;
  readonly details: StatusDetails;
};

/** The google.rpc.Status of a refusal, before base64; a larger one is left out, because peers bound their header lists. */
const DETAILS_BYTES_MAX = 4096;

/** Maps a refusal to its gRPC status. Exhaustive: a new kind does not compile without a status of its own. */
export function statusOf(call: Call, refusal: Refusal): RefusalStatus {
  switch (refusal.kind) {
    case 'not-grpc':
      return plain(GrpcStatus.UNKNOWN, 'NOT_GRPC', `Not a gRPC request: ${refusal.detail}.`);
    case 'unknown-method':
      return plain(
        GrpcStatus.UNIMPLEMENTED,
        'UNKNOWN_METHOD',
        `The method ${clip(call.path)} is not in the contract.`,
      );
    case 'malformed':
      return {
        ...plain(
          GrpcStatus.INVALID_ARGUMENT,
          'MALFORMED_REQUEST',
          `${refusal.field}: expected ${refusal.expected}.`,
        ),
        details: { badRequest: [{ field: refusal.field, description: `expected ${refusal.expected}` }] },
      };
    case 'identity-stale':
      return plain(
        GrpcStatus.UNAUTHENTICATED,
        `IDENTITY_${refusal.reason}`,
        refusal.reason === 'EXPIRED'
          ? 'The certificate of this connection has expired; connect again with a current one.'
          : 'The issuer of this connection’s certificate has left the trust bundle; connect again with a current one.',
      );
    case 'token':
      return plain(GrpcStatus.UNAUTHENTICATED, refusal.reason, refusal.sentence);
    case 'keys-unavailable':
      return retryable(
        GrpcStatus.UNAVAILABLE,
        'TOKEN_KEYS_UNAVAILABLE',
        `The keys of token issuer ${refusal.issuer} cannot be had at the moment, so no token of it is accepted.`,
        1000,
      );
    case 'denied':
      return plain(GrpcStatus.PERMISSION_DENIED, refusal.reason, refusal.sentence);
    case 'message-too-large':
      return {
        ...plain(
          GrpcStatus.RESOURCE_EXHAUSTED,
          'MESSAGE_TOO_LARGE',
          `The ${refusal.side} message has ${refusal.bytes} bytes, more than the ${refusal.limitBytes} that ${clip(call.path)} allows.`,
        ),
        details: {
          quotaFailure: [
            {
              subject: clip(call.path),
              description: `${refusal.side} messages of at most ${refusal.limitBytes} bytes`,
            },
          ],
        },
      };
    case 'first-message-late':
      return plain(
        GrpcStatus.DEADLINE_EXCEEDED,
        'FIRST_MESSAGE_LATE',
        `Policy has to read the first message, and it was not there whole within ${refusal.limitMs} ms.`,
      );
    case 'overloaded':
      return {
        ...retryable(
          GrpcStatus.RESOURCE_EXHAUSTED,
          'OVERLOADED',
          `The limit ${refusal.limit} of ${refusal.max} is reached; try again later.`,
          refusal.retryDelayMs,
        ),
        details: {
          quotaFailure: [{ subject: refusal.limit, description: `at most ${refusal.max}` }],
          retryDelayMs: refusal.retryDelayMs,
        },
      };
    case 'unknown-upstream':
      return plain(
        GrpcStatus.PERMISSION_DENIED,
        'UNKNOWN_UPSTREAM',
        `No upstream is called ${clip(call.authority)}; set the channel's authority to the name of one.`,
      );
    default:
      return failureOf(call, refusal);
  }
}

type Failure = Extract<
  Refusal,
  {
    kind:
      | 'circuit-open'
      | 'upstream-unreachable'
      | 'upstream-reset'
      | 'upstream-malformed'
      | 'deadline'
      | 'draining'
      | 'bug';
  }
>;

/** What went wrong behind policy. */
function failureOf(call: Call, refusal: Failure): RefusalStatus {
  const at =
    call.direction === 'inbound'
      ? 'the app'
      : `upstream ${call.upstream} at ${call.endpoint || 'no endpoint'}`;
  switch (refusal.kind) {
    case 'circuit-open':
      return retryable(
        GrpcStatus.UNAVAILABLE,
        'CIRCUIT_OPEN',
        `Every endpoint of upstream ${call.upstream} has failed lately and is not called for now.`,
        refusal.retryDelayMs,
      );
    case 'upstream-unreachable':
      return plain(
        GrpcStatus.UNAVAILABLE,
        'UPSTREAM_UNREACHABLE',
        `${capital(at)} cannot be reached: ${clip(refusal.cause)}.`,
      );
    case 'upstream-reset':
      return plain(
        refusal.status,
        'UPSTREAM_RESET',
        `${capital(at)} ended the call early: ${clip(refusal.cause)}.`,
      );
    case 'upstream-malformed':
      return plain(
        GrpcStatus.INTERNAL,
        'UPSTREAM_MALFORMED',
        `${capital(at)} answered with something that is not gRPC: ${clip(refusal.cause)}.`,
      );
    case 'deadline':
      return plain(
        GrpcStatus.DEADLINE_EXCEEDED,
        'DEADLINE_EXCEEDED',
        `The deadline passed before ${at} had answered.`,
      );
    case 'draining':
      return retryable(
        GrpcStatus.UNAVAILABLE,
        'DRAINING',
        'This sidecar is shutting down; connect again.',
        0,
      );
    case 'bug':
      return plain(GrpcStatus.INTERNAL, 'INTERNAL', 'The sidecar failed; its log says why.');
  }
}

function plain(code: GrpcStatus, reason: string, message: string): RefusalStatus {
  return { code, reason, message, details: {} };
}

function retryable(code: GrpcStatus, reason: string, message: string, retryDelayMs: number): RefusalStatus {
  return { code, reason, message, details: { retryDelayMs } };
}

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
  const fields = [STATUS_FIELDS[status.code] as Field, field('grpc-message', percentEncode(status.message))];
  const details = encodeStatusDetails(status.code, status.message, {
    ...status.details,
    errorInfo: { reason: status.reason, metadata },
  });
  if (details !== null && details.length <= DETAILS_BYTES_MAX) {
    fields.push(field(STATUS_DETAILS_KEY, details.toString('base64').replace(/=+$/, '')));
  }
  return fields;
}

/** A response to something that is not gRPC (gRPC over HTTP/2, "content-type": 415). */
export function httpRefusalHead(httpStatus: number): Field[] {
  return [field(':status', String(httpStatus))];
}

/** Percent-encodes a status message (gRPC over HTTP/2, "Status-Message"). */
function percentEncode(message: string): string {
  let encoded = '';
  for (const byte of Buffer.from(message, 'utf8')) {
    encoded +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

/** Names from the wire are repeated to a length that fits in a sentence. */
function clip(text: string): string {
  return text.length > 128 ? `${text.slice(0, 128)}…` : text;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
