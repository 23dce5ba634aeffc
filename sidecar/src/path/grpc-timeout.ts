const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};
const DIGITS_MAX = 8;
const ZERO = 48;
/** Eight digits are the most that the header takes. */
const VALUE_MAX = 99_999_999;

/** Reads `grpc-timeout` (gRPC over HTTP/2, "Timeout"). @returns milliseconds, or null when malformed */
export function parseGrpcTimeout(value: string): number | null {
  const digits = value.length - 1;
  if (digits < 1 || digits > DIGITS_MAX) return null;
  let count = 0;
  for (let i = 0; i < digits; i++) {
    const digit = value.charCodeAt(i) - ZERO;
    if (digit < 0 || digit > 9) return null;
    count = count * 10 + digit;
  }
  const unitMs = UNIT_MS[value.charAt(digits)];
  return unitMs === undefined ? null : count * unitMs;
}

/** Writes `grpc-timeout` in milliseconds, or seconds where milliseconds don't fit; never less than 1 ms. */
export function formatGrpcTimeout(ms: number): string {
  const whole = Math.max(1, Math.ceil(ms));
  return whole <= VALUE_MAX ? `${whole}m` : `${Math.ceil(whole / 1000)}S`;
}
