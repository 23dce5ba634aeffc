import { type ContractMethod, decodeStatusDetails, STATUS_DETAILS_KEY } from '@gatehouse/contracts';
import { describe, expect, test } from 'vitest';
import type { Field, Stream } from '../http2/index.ts';
import { Call } from './call.ts';
import { GrpcStatus, statusName } from './grpc-status.ts';
import type { Refusal } from './refusal.ts';
import { httpRefusalHead, refusalHead, refusalTrailers } from './refusal-fields.ts';
import { statusOf } from './refusal-status.ts';

/** As long as names from the wire and from a certificate can be. */
const LONG = 'é'.repeat(8_000);
const LONGEST_ID = `spiffe://example.org/${'x'.repeat(2_027)}`;

/** One of every kind, with its status; the type makes a missing kind an error. */
const EXAMPLES: {
  readonly [K in Refusal['kind']]: readonly [Extract<Refusal, { kind: K }>, keyof typeof GrpcStatus, string];
} = {
  'not-grpc': [{ kind: 'not-grpc', httpStatus: 415, detail: 'no' }, 'UNKNOWN', 'NOT_GRPC'],
  'quota-exceeded': [
    {
      kind: 'quota-exceeded',
      limitId: 'chat',
      number: 'tokens-per-minute',
      max: 1000,
      subject: 'claim tenant acme',
      retryDelayMs: 4200,
      wantedTokens: 300,
      midway: false,
    },
    'RESOURCE_EXHAUSTED',
    'QUOTA_EXCEEDED',
  ],
  'quota-store-down': [
    { kind: 'quota-store-down', limitId: 'chat', retryDelayMs: 1000 },
    'UNAVAILABLE',
    'QUOTA_STORE_UNAVAILABLE',
  ],
  'quota-claim': [
    { kind: 'quota-claim', limitId: 'chat', claim: 'tenant' },
    'PERMISSION_DENIED',
    'QUOTA_CLAIM_UNUSABLE',
  ],
  'quota-accounts-full': [
    { kind: 'quota-accounts-full', max: 10, retryDelayMs: 1000 },
    'RESOURCE_EXHAUSTED',
    'QUOTA_ACCOUNTS_FULL',
  ],
  'contract-mismatch': [
    { kind: 'contract-mismatch', stated: '1.4.0', served: '1.1.0', fit: 'newer' },
    'FAILED_PRECONDITION',
    'CONTRACT_MISMATCH',
  ],
  'unknown-method': [{ kind: 'unknown-method' }, 'UNIMPLEMENTED', 'UNKNOWN_METHOD'],
  malformed: [
    { kind: 'malformed', field: 'grpc-timeout', expected: 'digits' },
    'INVALID_ARGUMENT',
    'MALFORMED_REQUEST',
  ],
  'identity-stale': [{ kind: 'identity-stale', reason: 'EXPIRED' }, 'UNAUTHENTICATED', 'IDENTITY_EXPIRED'],
  token: [
    { kind: 'token', reason: 'TOKEN_EXPIRED', sentence: 'The token has expired.' },
    'UNAUTHENTICATED',
    'TOKEN_EXPIRED',
  ],
  'keys-unavailable': [
    { kind: 'keys-unavailable', issuer: 'people' },
    'UNAVAILABLE',
    'TOKEN_KEYS_UNAVAILABLE',
  ],
  denied: [
    { kind: 'denied', reason: 'NO_MATCHING_RULE', sentence: 'No.' },
    'PERMISSION_DENIED',
    'NO_MATCHING_RULE',
  ],
  'message-too-large': [
    { kind: 'message-too-large', side: 'request', bytes: 11, limitBytes: 10 },
    'RESOURCE_EXHAUSTED',
    'MESSAGE_TOO_LARGE',
  ],
  'metadata-too-large': [
    { kind: 'metadata-too-large', side: 'request' },
    'RESOURCE_EXHAUSTED',
    'METADATA_TOO_LARGE',
  ],
  'first-message-late': [
    { kind: 'first-message-late', limitMs: 10 },
    'DEADLINE_EXCEEDED',
    'FIRST_MESSAGE_LATE',
  ],
  overloaded: [
    { kind: 'overloaded', limit: 'callsActiveMax', max: 10, retryDelayMs: 100 },
    'RESOURCE_EXHAUSTED',
    'OVERLOADED',
  ],
  protected: [
    {
      kind: 'protected',
      direction: 'request',
      because: 'found',
      detector: 'CARD',
      field: 'chat.messages[0].content',
    },
    'INVALID_ARGUMENT',
    'PROTECTED_REQUEST',
  ],
  'too-many-left': [{ kind: 'too-many-left', max: 10 }, 'UNAVAILABLE', 'TOO_MANY_LEFT_CALLS'],
  shed: [
    { kind: 'shed', shed: { reason: 'deadline', priority: 'low', bound: 950.5, retryDelayMs: 450 } },
    'RESOURCE_EXHAUSTED',
    'DEADLINE_OUT_OF_REACH',
  ],
  'unknown-upstream': [{ kind: 'unknown-upstream' }, 'PERMISSION_DENIED', 'UNKNOWN_UPSTREAM'],
  'circuit-open': [{ kind: 'circuit-open', retryDelayMs: 1_500 }, 'UNAVAILABLE', 'CIRCUIT_OPEN'],
  'no-endpoints': [{ kind: 'no-endpoints', retryDelayMs: 1_000 }, 'UNAVAILABLE', 'NO_ENDPOINTS'],
  'upstream-unreachable': [
    { kind: 'upstream-unreachable', cause: LONG },
    'UNAVAILABLE',
    'UPSTREAM_UNREACHABLE',
  ],
  'upstream-reset': [
    { kind: 'upstream-reset', status: GrpcStatus.INTERNAL, cause: LONG },
    'INTERNAL',
    'UPSTREAM_RESET',
  ],
  'upstream-malformed': [{ kind: 'upstream-malformed', cause: LONG }, 'INTERNAL', 'UPSTREAM_MALFORMED'],
  deadline: [{ kind: 'deadline' }, 'DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED'],
  'audit-unavailable': [{ kind: 'audit-unavailable' }, 'UNAVAILABLE', 'AUDIT_UNAVAILABLE'],
  draining: [{ kind: 'draining' }, 'UNAVAILABLE', 'DRAINING'],
  bug: [{ kind: 'bug' }, 'INTERNAL', 'INTERNAL'],
};

function callOf(direction: 'inbound' | 'egress', name: string): Call {
  const call = new Call(direction, {} as Stream, 0);
  call.path = `/${name}`;
  call.authority = name;
  call.method = { path: '/a.B/C' } as ContractMethod;
  call.upstream = 'inference';
  call.endpoint = '10.0.0.7:8443';
  return call;
}

function valueOf(fields: readonly Field[], name: string): string | undefined {
  return fields.find((each) => each.name === name)?.value;
}

function detailsIn(fields: readonly Field[]): ReturnType<typeof decodeStatusDetails> {
  return decodeStatusDetails(Buffer.from(valueOf(fields, STATUS_DETAILS_KEY) ?? '', 'base64'));
}

describe.each(['inbound', 'egress'] as const)('on %s', (direction) => {
  test.each(Object.values(EXAMPLES))(
    '$kind has a status, a reason and one sentence',
    (refusal, code, reason) => {
      const status = statusOf(callOf(direction, 'a.B/C'), refusal);
      expect(statusName(status.code)).toBe(code);
      expect(status.reason).toBe(reason);
      expect(status.message).toMatch(/^[A-Za-z].*\.$/);
      const fields = refusalHead(status, { method: 'a.B/C' });
      expect(fields.slice(0, 3).map(({ name, value }) => `${name} ${value}`)).toEqual([
        ':status 200',
        'content-type application/grpc',
        `grpc-status ${status.code}`,
      ]);
      expect(detailsIn(fields).errorInfo).toEqual({
        reason,
        domain: 'gatehouse.dev',
        metadata: { method: 'a.B/C' },
      });
    },
  );

  test.each(Object.values(EXAMPLES))(
    '$kind keeps its details under 4 KiB, whatever names came with the call',
    (refusal) => {
      const status = statusOf(callOf(direction, LONG), refusal);
      const fields = refusalTrailers(status, { method: LONG.slice(0, 128), identity: LONGEST_ID });
      const encoded = valueOf(fields, STATUS_DETAILS_KEY);
      expect(encoded).toBeDefined();
      expect(Buffer.from(encoded ?? '', 'base64').length).toBeLessThanOrEqual(4096);
      expect(detailsIn(fields).errorInfo?.metadata?.['identity']).toBe(LONGEST_ID);
      expect(valueOf(fields, 'grpc-message')?.length).toBeLessThan(2_000);
    },
  );
});

test('a message is percent-encoded: what is not printable ASCII and the percent sign, byte by byte', () => {
  const status = statusOf(callOf('inbound', 'a'), {
    kind: 'denied',
    reason: 'X',
    sentence: '100 % “sure”\n~ é\u{1f600}.',
  });
  const encoded = valueOf(refusalTrailers(status, {}), 'grpc-message') ?? '';
  expect(encoded).toBe('100 %25 %E2%80%9Csure%E2%80%9D%0A~ %C3%A9%F0%9F%98%80.');
  expect(decodeURIComponent(encoded)).toBe(status.message);
});

test('overload says which limit was reached and when to come back', () => {
  const [refusal] = EXAMPLES.overloaded;
  const details = detailsIn(refusalTrailers(statusOf(callOf('inbound', 'a.B/C'), refusal), {}));
  expect(details.quotaFailure).toEqual([
    expect.objectContaining({ subject: 'callsActiveMax', description: 'at most 10' }),
  ]);
  expect(details.retryDelayMs).toBe(100);
});

test('a malformed request names the field', () => {
  const [refusal] = EXAMPLES.malformed;
  const details = detailsIn(refusalTrailers(statusOf(callOf('inbound', 'a.B/C'), refusal), {}));
  expect(details.badRequest).toEqual([expect.objectContaining({ field: 'grpc-timeout' })]);
});

test('a bug tells the caller nothing of itself', () => {
  const status = statusOf(callOf('inbound', 'a.B/C'), { kind: 'bug' });
  expect(status).toMatchObject({ message: 'The sidecar failed; its log says why.', details: {} });
});

test('what is not gRPC is answered with an HTTP status alone', () => {
  expect(httpRefusalHead(415).map(({ name, value }) => `${name} ${value}`)).toEqual([':status 415']);
});
