const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};
const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
/** Eight digits are the most that the header takes. */
const VALUE_MAX = 99_999_999;

/** Reads `grpc-timeout` (gRPC over HTTP/2, "Timeout"). @returns milliseconds, or null when malformed */
export function parseGrpcTimeout(value: string): number | null {
  const match = TIMEOUT.exec(value);
  if (match === null) return null;
  return Number(match[1]) * (UNIT_MS[match[2] as string] as number);
}

/** Writes `grpc-timeout` in milliseconds, or seconds where milliseconds don't fit; never less than 1 ms. */
export function formatGrpcTimeout(ms: number): string {
  const whole = Math.max(1, Math.ceil(ms));
  return whole <= VALUE_MAX ? `${whole}m` : `${Math.ceil(whole / 1000)}S`;
}
