import { BadRequest, ErrorInfo } from '@gatehouse/contracts/rpc-error-details';
import { Status } from '@gatehouse/contracts/rpc-status';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { readCallFailure } from './call-failure.ts';

function serviceError(code: status, packed?: Buffer): ServiceError {
  const metadata = new Metadata();
  if (packed !== undefined) metadata.set('grpc-status-details-bin', packed);
  return Object.assign(new Error('x'), { code, details: 'no rule allows this call', metadata });
}

describe('readCallFailure', () => {
  it('reads reason, facts and further details', () => {
    const packed = Status.encode({
      code: status.PERMISSION_DENIED,
      message: 'no rule allows this call',
      details: [
        {
          typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo',
          value: Buffer.from(
            ErrorInfo.encode({
              reason: 'NO_MATCHING_RULE',
              domain: 'gatehouse.dev',
              metadata: { rule: 'r' },
            }).finish(),
          ),
        },
        {
          typeUrl: 'type.googleapis.com/google.rpc.BadRequest',
          value: Buffer.from(
            BadRequest.encode({ fieldViolations: [{ field: 'model', description: 'required' }] }).finish(),
          ),
        },
        { typeUrl: 'type.googleapis.com/test.Unknown', value: Buffer.from([1]) },
      ],
    }).finish();
    expect(readCallFailure(serviceError(status.PERMISSION_DENIED, Buffer.from(packed)))).toEqual({
      code: 'PERMISSION_DENIED',
      message: 'no rule allows this call',
      reason: 'NO_MATCHING_RULE',
      metadata: { rule: 'r' },
      details: [
        { type: 'BadRequest', value: { fieldViolations: [{ field: 'model', description: 'required' }] } },
        { type: 'Unknown', value: 'AQ==' },
      ],
    });
  });

  it('takes a status without details, or with details that are not readable, as it is', () => {
    const bare = {
      code: 'UNAVAILABLE',
      message: 'no rule allows this call',
      reason: '',
      metadata: {},
      details: [],
    };
    expect(readCallFailure(serviceError(status.UNAVAILABLE))).toEqual(bare);
    expect(readCallFailure(serviceError(status.UNAVAILABLE, Buffer.from([255, 255])))).toEqual(bare);
  });
});
