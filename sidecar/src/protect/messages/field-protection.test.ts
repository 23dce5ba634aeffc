import { Any } from '@gatehouse/contracts/any';
import { BadRequest } from '@gatehouse/contracts/rpc-error-details';
import { Status } from '@gatehouse/contracts/rpc-status';
import { describe, expect, test } from 'vitest';
import { type Field, field } from '../../http2/index.ts';
import { GENERATE, protecting } from './test/protected-call.ts';

const CARD = '4111 1111 1111 1111';
const BARE_CARD = '4111111111111111';
const cards = protecting([{ detectors: ['CARD', 'EMAIL'] }]);

describe('metadata and status', () => {
  const change = (fields: readonly Field[], begin = cards): unknown => {
    const result = begin(GENERATE).response?.fields(fields) as readonly Field[] | { kind: string };
    return 'kind' in result ? result : result.map(({ name, value }) => `${name}: ${value}`);
  };

  test('texts, bytes and the status message are looked at; what the sidecar reads itself is not', () => {
    const fields = [
      field(':status', '200'),
      field('content-type', 'application/grpc'),
      field('x-note', `card ${CARD}`),
      field('x-json', `{"c":"\\u0034111111111111111"}`),
      field('x-data-bin', `${Buffer.from(CARD).toString('base64')},AAEC`),
      field('grpc-status', '3'),
      field('grpc-message', 'no%3A 4111 1111 1111 1111%25'),
      field('authorization', `Bearer ${BARE_CARD}`),
    ];
    expect(change(fields)).toEqual([
      ':status: 200',
      'content-type: application/grpc',
      'x-note: card [CARD_1]',
      'x-json: {"c":"[CARD_1]"}',
      `x-data-bin: ${Buffer.from('[CARD_1]').toString('base64').replace(/=+$/, '')},AAEC`,
      'grpc-status: 3',
      'grpc-message: no: [CARD_1]%25',
      `authorization: Bearer ${BARE_CARD}`,
    ]);
  });

  test('fields that hold nothing are the very same', () => {
    const fields = [field('x-note', 'hello'), field('x-data-bin', 'AAEC'), field('grpc-message', 'fine%21')];
    const { response } = cards(GENERATE);
    expect(response?.fields(fields)).toBe(fields);
    expect(response?.fields(fields)).toBe(fields);
  });

  test('bytes that are no text are refused where something has to change in them', () => {
    const value = Buffer.concat([Buffer.from([0, 1, 255]), Buffer.from(BARE_CARD)]).toString('base64');
    expect(change([field('x-data-bin', value)])).toMatchObject({
      kind: 'protected',
      because: 'unwritable',
      field: 'x-data-bin',
    });
    expect(change([field(BARE_CARD, 'x')])).toMatchObject({ kind: 'protected', because: 'unwritable' });
  });

  test('status details are changed inside, and left out where that can not be', () => {
    const violation = BadRequest.encode({
      fieldViolations: [{ field: 'f', description: `has ${CARD}` }],
    }).finish();
    const known = Any.fromPartial({
      typeUrl: 'type.googleapis.com/google.rpc.BadRequest',
      value: Buffer.from(violation),
    });
    const detailsField = (details: Any[]): Field =>
      field(
        'grpc-status-details-bin',
        Buffer.from(Status.encode({ code: 3, message: `no ${CARD}`, details }).finish()).toString('base64'),
      );
    const [changed] = change([detailsField([known])]) as string[];
    const status = Status.decode(Buffer.from((changed as string).split(': ')[1] as string, 'base64'));
    expect(status.message).toBe('no [CARD_1]');
    expect(BadRequest.decode(status.details[0]?.value as Buffer).fieldViolations[0]?.description).toBe(
      'has [CARD_1]',
    );

    const unknown = Any.fromPartial({
      typeUrl: 'type.googleapis.com/no.Such',
      value: Buffer.from(`\0${BARE_CARD}`),
    });
    expect(change([field('grpc-status', '3'), detailsField([unknown])])).toEqual(['grpc-status: 3']);
    expect(change([field('grpc-status-details-bin', 'bm90IGEgc3RhdHVz')])).toEqual([]);
  });

  test('a protection that refuses refuses metadata by its name', () => {
    const refusing = protecting([{ detectors: ['CARD'], action: 'REFUSE' }]);
    expect(change([field('x-note', CARD)], refusing)).toMatchObject({
      kind: 'protected',
      because: 'found',
      field: 'x-note',
    });
  });
});
