import { CONTRACT_HEADER, type Contract, type ContractMethod } from '@gatehouse/contracts';
import { type Field, FieldKind } from '../http2/index.ts';
import type { Call } from './call.ts';
import { parseGrpcTimeout } from './grpc-timeout.ts';
import type { Refusal } from './refusal.ts';
import type { StatedContracts } from './stated-contract.ts';

/** A well-formed gRPC call of a method that the contract has, with a deadline. */
export type Accepted = Call & { readonly method: ContractMethod };

const GRPC_CONTENT_TYPE = /^application\/grpc(?:[+;].*)?$/;

/**
 * Reads the request's head: a gRPC request (gRPC over HTTP/2, "Requests"), a method that exists, a deadline. The
 * deadline is the caller's, capped by the contract's largest; a call that brings none gets the contract's default.
 */
export function accept(
  call: Call,
  fields: readonly Field[],
  { contract, stated }: { readonly contract: Contract; readonly stated: StatedContracts },
): Accepted | Refusal {
  call.fields = fields;
  let httpMethod = '';
  let contentType = '';
  let timeout: string | null = null;
  let contractVersion: string | null = null;
  for (const field of fields) {
    switch (field.kind) {
      case FieldKind.METHOD:
        httpMethod = field.value;
        break;
      case FieldKind.PATH:
        call.path = field.value;
        break;
      case FieldKind.AUTHORITY:
        call.authority = field.value;
        break;
      case FieldKind.CONTENT_TYPE:
        contentType = field.value;
        break;
      case FieldKind.GRPC_TIMEOUT:
        timeout = field.value;
        break;
      case FieldKind.TRACEPARENT:
        call.traceparent = field.value;
        break;
      case FieldKind.AUTHORIZATION:
        call.authorization = field.value;
        break;
      default:
        if (field.name === 'grpc-encoding') call.encoding = field.value;
        else if (field.name === CONTRACT_HEADER) contractVersion = field.value;
    }
  }
  if (httpMethod !== 'POST')
    return { kind: 'not-grpc', httpStatus: 405, detail: `:method is ${httpMethod}, expected POST` };
  if (contentType !== 'application/grpc' && !GRPC_CONTENT_TYPE.test(contentType)) {
    return { kind: 'not-grpc', httpStatus: 415, detail: 'content-type is not application/grpc' };
  }
  const method = contract.methods.get(call.path);
  const mismatch = stated.refuse(contractVersion, method !== undefined);
  if (mismatch !== null) return mismatch;
  if (method === undefined) return { kind: 'unknown-method' };
  call.method = method;

  let timeoutMs = method.deadlineMsDefault;
  if (timeout !== null) {
    const asked = parseGrpcTimeout(timeout);
    if (asked === null) {
      return {
        kind: 'malformed',
        field: 'grpc-timeout',
        expected: 'up to 8 digits and one of H, M, S, m, u, n',
      };
    }
    timeoutMs = Math.min(asked, method.deadlineMsMax);
  }
  call.deadlineAtMs = call.startedAtMs + timeoutMs;
  return call as Accepted;
}
