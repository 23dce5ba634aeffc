import { type Field, FieldKind } from '../http2/index.ts';
import { GrpcStatus, parseGrpcStatus } from './grpc-status.ts';
import type { Refusal } from './refusal.ts';
import { httpToGrpcStatus } from './status-mapping.ts';

/** A gRPC response has :status 200 and a gRPC content type; anything else is mapped (gRPC, "HTTP to gRPC status"). */
export function checkResponseHead(fields: readonly Field[]): Refusal | null {
  let isGrpc = false;
  let httpStatus = '';
  for (const each of fields) {
    if (each.kind === FieldKind.STATUS) httpStatus = each.value;
    else if (each.kind === FieldKind.CONTENT_TYPE) isGrpc = each.value.startsWith('application/grpc');
    else if (each.kind === FieldKind.GRPC_STATUS) isGrpc = true;
  }
  if (httpStatus === '200' && isGrpc) return null;
  if (httpStatus === '200')
    return { kind: 'upstream-malformed', cause: 'its content-type is not application/grpc' };
  return { kind: 'upstream-reset', status: httpToGrpcStatus(httpStatus), cause: `HTTP status ${httpStatus}` };
}

/** UNKNOWN where there is none. */
export function grpcStatusIn(fields: readonly Field[]): GrpcStatus {
  for (const each of fields) if (each.kind === FieldKind.GRPC_STATUS) return parseGrpcStatus(each.value);
  return GrpcStatus.UNKNOWN;
}
