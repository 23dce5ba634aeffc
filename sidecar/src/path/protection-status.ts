import type { ProtectionRefusal } from '../protect/index.ts';
import { GrpcStatus } from './grpc-status.ts';
import type { RefusalStatus } from './refusal-status.ts';

type Protected = Extract<ProtectionRefusal, { kind: 'protected' }>;

/** What a protection refuses, with the field and the detector, and nothing of what was found. */
export function protectionStatus(refusal: Protected): RefusalStatus {
  const { direction, because, detector, field } = refusal;
  switch (because) {
    case 'failed':
      return {
        code: GrpcStatus.INTERNAL,
        reason: 'PROTECTION_FAILED',
        message: `The detector ${detector} failed on ${field} of the ${direction}, so nothing of it was passed on.`,
        details: {},
      };
    case 'too-many-texts':
      return {
        code: GrpcStatus.RESOURCE_EXHAUSTED,
        reason: 'PROTECTION_TOO_MANY_TEXTS',
        message: `More texts interleave in the ${direction} than its protection can follow.`,
        details: { quotaFailure: [{ subject: 'texts', description: `too many in one ${direction}` }] },
      };
    case 'found':
    case 'unwritable':
      return direction === 'request' ? requestStatus(refusal) : responseStatus(refusal);
  }
}

function requestStatus(refusal: Protected): RefusalStatus {
  const { field } = refusal;
  const found = foundText(refusal);
  return {
    code: GrpcStatus.INVALID_ARGUMENT,
    reason: 'PROTECTED_REQUEST',
    message: `${field} of the request holds ${found}; take it out and call again.`,
    details: { badRequest: [{ field, description: `holds ${found}` }] },
  };
}

/** The caller lacks nothing and can't mend it: what the app answers is not for it to see. */
function responseStatus(refusal: Protected): RefusalStatus {
  const { field } = refusal;
  const found = foundText(refusal);
  return {
    code: GrpcStatus.PERMISSION_DENIED,
    reason: 'PROTECTED_RESPONSE',
    message: `${field} of the response holds ${found}, so the rest of the response is kept back.`,
    details: {
      preconditionFailure: [{ type: 'PROTECTED_RESPONSE', subject: field, description: `holds ${found}` }],
    },
  };
}

function foundText({ because, detector }: Protected): string {
  const what = detector === '' ? 'what policy protects' : `what policy protects (${detector})`;
  return because === 'found' ? what : `${what} where nothing can be put in its place`;
}
