import { expect, test } from 'vitest';
import { GrpcStatus } from './grpc-status.ts';
import { protectionStatus } from './protection-status.ts';

const CASES = [
  ['request', 'found', 'INVALID_ARGUMENT', 'PROTECTED_REQUEST'],
  ['request', 'unwritable', 'INVALID_ARGUMENT', 'PROTECTED_REQUEST'],
  ['response', 'found', 'PERMISSION_DENIED', 'PROTECTED_RESPONSE'],
  ['response', 'unwritable', 'PERMISSION_DENIED', 'PROTECTED_RESPONSE'],
  ['request', 'failed', 'INTERNAL', 'PROTECTION_FAILED'],
  ['response', 'failed', 'INTERNAL', 'PROTECTION_FAILED'],
  ['response', 'too-many-texts', 'RESOURCE_EXHAUSTED', 'PROTECTION_TOO_MANY_TEXTS'],
] as const;

test.each(CASES)('what is %s and %s ends the call with %s', (direction, because, code, reason) => {
  const status = protectionStatus({
    kind: 'protected',
    direction,
    because,
    detector: 'CARD',
    field: 'chat.content',
  });
  expect(status).toMatchObject({ code: GrpcStatus[code], reason });
  expect(status.message).toContain(direction);
  if (because !== 'too-many-texts') expect(status.message).toMatch(/CARD.*chat\.content|chat\.content.*CARD/);
});

test('a request says which field, a response on which condition', () => {
  const refusal = { kind: 'protected', because: 'found', detector: 'CARD', field: 'text' } as const;
  expect(protectionStatus({ ...refusal, direction: 'request' }).details.badRequest).toEqual([
    { field: 'text', description: 'holds what policy protects (CARD)' },
  ]);
  expect(protectionStatus({ ...refusal, direction: 'response' }).details.preconditionFailure).toEqual([
    { type: 'PROTECTED_RESPONSE', subject: 'text', description: 'holds what policy protects (CARD)' },
  ]);
});
