import type { StatusDetails } from '@gatehouse/contracts';
import type { QuotaShortage } from '../quota/index.ts';
import type { Shed } from '../shed/index.ts';
import type { Call } from './call.ts';
import { GrpcStatus } from './grpc-status.ts';
import { protectionStatus } from './protection-status.ts';
import { quotaStatus } from './quota-status.ts';
import type { Refusal } from './refusal.ts';

/** What a refusal is on the wire. */
export type RefusalStatus = {
  readonly code: GrpcStatus;
  /** ErrorInfo.reason. */
  readonly reason: string;
  /** One sentence that the caller can act on. */
  readonly message: string;
  readonly details: StatusDetails;
  /** What ErrorInfo.metadata says beyond what it says of every refusal. */
  readonly metadata?: Readonly<Record<string, string>>;
};

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
    case 'contract-mismatch':
      return contractStatus(call, refusal);
    case 'malformed':
      return {
        ...plain(
          GrpcStatus.INVALID_ARGUMENT,
          'MALFORMED_REQUEST',
          `${refusal.field}: expected ${refusal.expected}.`,
        ),
        details: { badRequest: [{ field: refusal.field, description: `expected ${refusal.expected}` }] },
      };
    case 'first-message-late':
      return plain(
        GrpcStatus.DEADLINE_EXCEEDED,
        'FIRST_MESSAGE_LATE',
        `Policy has to read the first message, and it was not there whole within ${refusal.limitMs} ms.`,
      );
    case 'protected':
      return protectionStatus(refusal);
    case 'message-too-large':
    case 'metadata-too-large':
    case 'overloaded':
    case 'too-many-left':
    case 'shed':
    case 'quota-exceeded':
    case 'quota-store-down':
    case 'quota-claim':
    case 'quota-accounts-full':
      return roomStatus(call, refusal);
    case 'identity-stale':
    case 'token':
    case 'keys-unavailable':
    case 'denied':
    case 'unknown-upstream':
      return callerStatus(call, refusal);
    default:
      return failureOf(call, refusal);
  }
}

function contractStatus(
  call: Call,
  { stated, served, fit }: Extract<Refusal, { kind: 'contract-mismatch' }>,
): RefusalStatus {
  const why =
    fit === 'newer'
      ? `which has no method ${clip(call.path)} yet; upgrade what is called, or call with an older stub`
      : 'another major version; call with a stub of that one';
  return {
    ...plain(
      GrpcStatus.FAILED_PRECONDITION,
      'CONTRACT_MISMATCH',
      `The caller's stub is of contract ${stated}, and contract ${served} is served here, ${why}.`,
    ),
    metadata: { contract_stated: stated, contract_served: served },
  };
}

type NoRoom = Extract<
  Refusal,
  | QuotaShortage
  | { kind: 'message-too-large' | 'metadata-too-large' | 'overloaded' | 'too-many-left' | 'shed' }
>;

/** What is too large or too much. */
function roomStatus(call: Call, refusal: NoRoom): RefusalStatus {
  switch (refusal.kind) {
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
    case 'metadata-too-large':
      return plain(
        GrpcStatus.RESOURCE_EXHAUSTED,
        'METADATA_TOO_LARGE',
        `The ${refusal.side}'s metadata is larger than ${refusal.side === 'request' ? 'the called side' : 'the caller'} says it takes.`,
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
    case 'too-many-left':
      return plain(
        GrpcStatus.UNAVAILABLE,
        'TOO_MANY_LEFT_CALLS',
        `At the app ${refusal.max} calls go on that this identity has left; wait until they have ended.`,
      );
    case 'shed':
      return shedStatus(call, refusal.shed);
    case 'quota-exceeded':
    case 'quota-store-down':
    case 'quota-claim':
    case 'quota-accounts-full':
      return quotaStatus(refusal);
  }
}

/**
 * RESOURCE_EXHAUSTED for both reasons: clients and proxies take UNAVAILABLE and DEADLINE_EXCEEDED for a failure of the
 * endpoint, try again at once and open circuits. A busy app is none.
 */
function shedStatus(call: Call, { reason, priority, bound, retryDelayMs }: Shed): RefusalStatus {
  const method = clip(call.path.slice(1));
  if (reason === 'deadline')
    return retryable(
      GrpcStatus.RESOURCE_EXHAUSTED,
      'DEADLINE_OUT_OF_REACH',
      `Nine of ten calls of ${method} take ${Math.round(bound)} ms or more at present, and less is left until this call's deadline; come back later or with a longer deadline.`,
      retryDelayMs,
    );
  const description = `at most ${bound} calls of ${priority} priority and below in flight at present`;
  return {
    code: GrpcStatus.RESOURCE_EXHAUSTED,
    reason: 'LOAD_SHED',
    message: `The app is busy: of ${method}, ${description}; come back later.`,
    details: { quotaFailure: [{ subject: method, description }], retryDelayMs },
  };
}

type CallerRefusal = Extract<
  Refusal,
  { kind: 'identity-stale' | 'token' | 'keys-unavailable' | 'denied' | 'unknown-upstream' }
>;

/** Who calls, and what they may. */
function callerStatus(call: Call, refusal: CallerRefusal): RefusalStatus {
  switch (refusal.kind) {
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
    case 'unknown-upstream':
      return plain(
        GrpcStatus.PERMISSION_DENIED,
        'UNKNOWN_UPSTREAM',
        `No upstream is called ${clip(call.authority)}; set the channel's authority to the name of one.`,
      );
  }
}

type Failure = Extract<
  Refusal,
  {
    kind:
      | 'circuit-open'
      | 'no-endpoints'
      | 'upstream-unreachable'
      | 'upstream-reset'
      | 'upstream-malformed'
      | 'deadline'
      | 'audit-unavailable'
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
    case 'no-endpoints':
      return retryable(
        GrpcStatus.UNAVAILABLE,
        'NO_ENDPOINTS',
        `Upstream ${call.upstream} has no endpoint that is ready at the moment.`,
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
    case 'audit-unavailable':
      return retryable(
        GrpcStatus.UNAVAILABLE,
        'AUDIT_UNAVAILABLE',
        'Decisions cannot be recorded at the moment, and policy wants each of them on record; try again later.',
        1000,
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

/** Names from the wire are repeated to a length that fits in a sentence. */
function clip(text: string): string {
  return text.length > 128 ? `${text.slice(0, 128)}…` : text;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
