/**
 * Cuts certificates that stand one after the other (ASN.1 DER) apart. Nothing inside of them is read.
 * @throws RangeError when something else than whole elements stands there
 */
export function splitDer(der: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < der.length; ) {
    const end = endOfElement(der, at);
    parts.push(der.subarray(at, end));
    at = end;
  }
  return parts;
}

/** PEM of what stands in DER, certificate by certificate. */
export function certificatesToPem(der: Buffer): string {
  return splitDer(der)
    .map((each) => toPem('CERTIFICATE', each))
    .join('');
}

export function toPem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

const SEQUENCE = 0x30;

/** X.690 §8.1: a definite length of at most four bytes. */
function endOfElement(der: Buffer, at: number): number {
  const first = der[at + 1];
  if (der[at] !== SEQUENCE || first === undefined) throw new RangeError('expected a certificate in DER');
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  const contentAt = at + 2 + lengthBytes;
  if (first === 0x80 || lengthBytes > 4 || contentAt > der.length)
    throw new RangeError('a certificate has an indefinite or oversized length');
  const end = contentAt + (lengthBytes === 0 ? first : der.readUIntBE(at + 2, lengthBytes));
  if (end > der.length) throw new RangeError('a certificate is cut short');
  return end;
}
