import './reflect-metadata.ts';
import type { X509Certificate } from 'node:crypto';
import { createHash } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { SpiffeId } from './spiffe-id.ts';
import { parseSpiffeId } from './spiffe-id.ts';

/** Object identifiers of RFC 5280 §4.2.1. */
const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17';
const BASIC_CONSTRAINTS = '2.5.29.19';
const KEY_USAGE = '2.5.29.15';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const ANY_PURPOSE = '2.5.29.37.0';

/** What a leaf is used for in a handshake. */
export type Purpose = 'client' | 'server';
const PURPOSE_OID: Readonly<Record<Purpose, string>> = {
  client: x509.ExtendedKeyUsage.clientAuth,
  server: x509.ExtendedKeyUsage.serverAuth,
};

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

/**
 * Applies X509-SVID §2 to §4 to a leaf: one URI name and a SPIFFE ID with a path, not a CA, keys for signing a
 * handshake and nothing else. The extensions are read from the DER, never from Node's text form of the names,
 * in which a crafted name can pose as another (CVE-2021-44532).
 */
export function readLeaf(
  certificate: X509Certificate,
  trustDomain: string,
  purposes: readonly Purpose[],
): { readonly id: SpiffeId } | { readonly refusal: LeafRefusal } {
  let parsed: x509.X509Certificate;
  let uris: readonly string[];
  try {
    parsed = new x509.X509Certificate(certificate.raw);
    uris = uriNames(parsed);
  } catch (error) {
    return refuse('MALFORMED_CERTIFICATE', error instanceof Error ? error.message : 'unreadable extension');
  }
  return usageRefusal(parsed, purposes) ?? readSpiffeId(uris, trustDomain);
}

/** RFC 8705 §3.1: the SHA-256 of the DER, base64url. */
export function thumbprint(certificate: X509Certificate): string {
  return createHash('sha256').update(certificate.raw).digest('base64url');
}

function refuse(reason: LeafRefusal['reason'], detail: string): { readonly refusal: LeafRefusal } {
  return { refusal: { reason, detail } };
}

function uriNames(certificate: x509.X509Certificate): readonly string[] {
  const uris: string[] = [];
  for (const extension of certificate.getExtensions(SUBJECT_ALTERNATIVE_NAME)) {
    const names = new x509.SubjectAlternativeNameExtension(extension.rawData).names;
    for (const name of names.items) {
      if (name.type === 'url') {
        uris.push(name.value);
      }
    }
  }
  return uris;
}

function usageRefusal(
  certificate: x509.X509Certificate,
  purposes: readonly Purpose[],
): { readonly refusal: LeafRefusal } | null {
  const basic = certificate.getExtension<x509.BasicConstraintsExtension>(BASIC_CONSTRAINTS);
  if (basic?.ca === true) {
    return refuse('NOT_A_LEAF', 'the certificate is a CA');
  }
  const usage = certificate.getExtension<x509.KeyUsagesExtension>(KEY_USAGE)?.usages;
  if (usage === undefined || (usage & x509.KeyUsageFlags.digitalSignature) === 0) {
    return refuse('WRONG_KEY_USAGE', 'the key usage does not hold digitalSignature');
  }
  if ((usage & (x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign)) !== 0) {
    return refuse('NOT_A_LEAF', 'the key may sign certificates or revocation lists');
  }
  const extended = certificate.getExtension<x509.ExtendedKeyUsageExtension>(EXTENDED_KEY_USAGE)?.usages;
  for (const purpose of purposes) {
    // X509-SVID §4.4 leaves the extension optional; where it is present it must allow the handshake.
    if (
      extended !== undefined &&
      !extended.includes(PURPOSE_OID[purpose]) &&
      !extended.includes(ANY_PURPOSE)
    ) {
      return refuse('WRONG_KEY_USAGE', `the extended key usage does not hold ${purpose}Auth`);
    }
  }
  return null;
}

function readSpiffeId(
  uris: readonly string[],
  trustDomain: string,
): { readonly id: SpiffeId } | { readonly refusal: LeafRefusal } {
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
