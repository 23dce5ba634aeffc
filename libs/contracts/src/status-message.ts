const PERCENT = 0x25;

/** Percent-encodes a status message (gRPC over HTTP/2, "Status-Message"). */
export function encodeStatusMessage(message: string): string {
  let encoded = '';
  for (const byte of Buffer.from(message, 'utf8')) {
    encoded +=
      byte >= 0x20 && byte <= 0x7e && byte !== PERCENT
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

/** Reads what encodeStatusMessage writes; what is encoded in another way stays as it is, as the specification asks for. */
export function decodeStatusMessage(encoded: string): string {
  const bytes = encoded.replace(/%([0-9a-fA-F]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
