/** Status codes (gRPC core, "Status codes and their use in gRPC"). */
export const GrpcStatus = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type GrpcStatus = (typeof GrpcStatus)[keyof typeof GrpcStatus];

const NAMES = Object.keys(GrpcStatus);

/** The code's name; UNKNOWN for a number that is no code, as gRPC treats it. */
export function statusName(code: number): string {
  return NAMES[code] ?? 'UNKNOWN';
}

/** Reads `grpc-status`; what is not a code counts as UNKNOWN. */
export function parseGrpcStatus(value: string): GrpcStatus {
  if (value === '0') return GrpcStatus.OK;
  const code = Number(value);
  return /^\d{1,2}$/.test(value) && code <= GrpcStatus.UNAUTHENTICATED
    ? (code as GrpcStatus)
    : GrpcStatus.UNKNOWN;
}
