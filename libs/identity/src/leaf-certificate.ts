import type { X509Certificate } from 'node:crypto';
import { createHash } from 'node:crypto';
import type { CertificateExtensions } from './certificate-extensions.ts';
import { readExtensions } from './certificate-extensions.ts';
import type { SpiffeId } from './spiffe-id.ts';
import { parseSpiffeId } from './spiffe-id.ts';

/** Bits of KeyUsage, RFC 5280 §4.2.1.3. */
const DIGITAL_SIGNATURE = 1 << 0;
const KEY_CERT_SIGN = 1 << 5;
const CRL_SIGN = 1 << 6;

/** What a leaf is used for in a handshake. */
export type Purpose = 'client' | 'server';
/** DER contents of 1.3.6.1.5.5.7.3.2, 1.3.6.1.5.5.7.3.1 and 2.5.29.37.0, RFC 5280 §4.2.1.12. */
const PURPOSE_ID: Readonly<Record<Purpose, string>> = {
  client: '2b06010505070302',
  server: '2b06010505070301',
};
const ANY_PURPOSE = '551d2500';

export type LeafRefusal = {
  readonly reason:
    | 'MALFORMED_CERTIFICATE'
    | 'NOT_A_LEAF'
    | 'WRONG_KEY_USAGE'
    | 'NO_SPIFFE_ID'
    | 'MULTIPLE_SPIFFE_IDS'
    | 'INVALID_SPIFFE_ID'
    | 'WRONG_TRUST_DOMAIN';
  readonly detail: string;
};

type Refused = { readonly refusal: LeafRefusal };

/**
 * Applies X509-SVID §2 to §4 to a leaf: exactly one URI name, a SPIFFE ID with a path in the trust domain; not a
 * CA; a key for signing handshakes and nothing else.
 */
export function readLeaf(
  certificate: X509Certificate,
  trustDomain: string,
  purposes: readonly Purpose[],
): { readonly id: SpiffeId } | Refused {
  let extensions: CertificateExtensions;
  try {
    extensions = readExtensions(certificate.raw);
  } catch (error) {
    return refuse('MALFORMED_CERTIFICATE', error instanceof Error ? error.message : 'unreadable extension');
  }
  return usageRefusal(extensions, purposes) ?? readSpiffeId(extensions.uris, trustDomain);
}

/** The trust domain of the SPIFFE ID in a certificate that nobody has proven yet; null where there is no single one. */
export function claimedTrustDomain(certificate: X509Certificate): string | null {
  try {
    const { uris } = readExtensions(certificate.raw);
    const [uri] = uris;
    if (uri === undefined || uris.length > 1) return null;
    const result = parseSpiffeId(uri);
    return 'id' in result ? result.id.trustDomain : null;
  } catch {
    return null;
  }
}

/** RFC 8705 §3.1: the SHA-256 of the DER, base64url. */
export function thumbprint(certificate: X509Certificate): string {
  return createHash('sha256').update(certificate.raw).digest('base64url');
}

function refuse(reason: LeafRefusal['reason'], detail: string): Refused {
  return { refusal: { reason, detail } };
}

function usageRefusal(extensions: CertificateExtensions, purposes: readonly Purpose[]): Refused | null {
  const { ca, keyUsage, purposes: allowed } = extensions;
  if (ca) {
    return refuse('NOT_A_LEAF', 'the certificate is a CA');
  }
  if (keyUsage === null || (keyUsage & DIGITAL_SIGNATURE) === 0) {
    return refuse('WRONG_KEY_USAGE', 'the key usage does not hold digitalSignature');
  }
  if ((keyUsage & (KEY_CERT_SIGN | CRL_SIGN)) !== 0) {
    return refuse('NOT_A_LEAF', 'the key may sign certificates or revocation lists');
  }
  for (const purpose of purposes) {
    // X509-SVID §4.4 leaves the extension optional; where it is present it must allow the handshake.
    if (allowed !== null && !allowed.includes(PURPOSE_ID[purpose]) && !allowed.includes(ANY_PURPOSE)) {
      return refuse('WRONG_KEY_USAGE', `the extended key usage does not hold ${purpose}Auth`);
    }
  }
  return null;
}

function readSpiffeId(uris: readonly string[], trustDomain: string): { readonly id: SpiffeId } | Refused {
  const [uri] = uris;
  if (uri === undefined) {
    return refuse('NO_SPIFFE_ID', 'the certificate has no URI name');
  }
  if (uris.length > 1) {
    return refuse('MULTIPLE_SPIFFE_IDS', `the certificate has ${uris.length} URI names`);
  }
  if (!uri.startsWith('spiffe:')) {
    return refuse('NO_SPIFFE_ID', 'the URI name of the certificate is not a SPIFFE ID');
  }
  const result = parseSpiffeId(uri);
  if ('problem' in result) {
    return refuse('INVALID_SPIFFE_ID', `the SPIFFE ID ${result.problem}`);
  }
  if (result.id.trustDomain !== trustDomain) {
    return refuse('WRONG_TRUST_DOMAIN', `trust domain ${result.id.trustDomain}, expected ${trustDomain}`);
  }
  if (result.id.segments.length === 0) {
    return refuse('INVALID_SPIFFE_ID', 'the SPIFFE ID of a workload needs a path');
  }
  return { id: result.id };
}
