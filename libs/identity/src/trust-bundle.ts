import { createHash, X509Certificate } from 'node:crypto';

/** One CA of a trust domain. */
export type TrustAnchor = {
  readonly certificate: X509Certificate;
  /** SHA-256 of the public key (SubjectPublicKeyInfo), base64url: outlives a CA certificate renewed over the same key. */
  readonly keyId: string;
  /** Milliseconds since the epoch. */
  readonly notAfterMs: number;
};

/** The CA certificates that a trust domain's identities must chain to. */
export type TrustBundle = {
  readonly pem: string;
  readonly anchors: readonly TrustAnchor[];
};

/** Which CAs vouch for whom: each trust domain's for its own identities, and for no others (SPIFFE Federation §5). */
export type TrustBundles = {
  readonly trustDomain: string;
  /** Of the own trust domain. */
  readonly bundle: TrustBundle;
  /** Of foreign trust domains that are trusted as well, by their names. */
  readonly federated: ReadonlyMap<string, TrustBundle>;
};

/** A path from a leaf to the anchor that vouches for it. */
export type Chain = {
  readonly anchor: TrustAnchor;
  /** Leaf first, anchor last. */
  readonly path: readonly X509Certificate[];
};

/** Longest path, leaf and anchor included; beyond it a chain is untrusted. */
const CHAIN_CERTIFICATES_MAX = 6;
/** Most certificates read from one file or one handshake. */
const CERTIFICATES_MAX = 100;
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----/g;

/** @throws Error when a block is not a certificate or there are more than 100 */
export function parseCertificates(pem: string): X509Certificate[] {
  const blocks = pem.match(PEM_CERTIFICATE) ?? [];
  if (blocks.length > CERTIFICATES_MAX) {
    throw new Error(`more than ${CERTIFICATES_MAX} certificates`);
  }
  return blocks.map((block) => new X509Certificate(block));
}

/** @returns the bundle, or a sentence that says why the text is none */
export function parseTrustBundle(
  pem: string,
): { readonly bundle: TrustBundle } | { readonly problem: string } {
  let certificates: X509Certificate[];
  try {
    certificates = parseCertificates(pem);
  } catch (error) {
    return {
      problem: `holds an unreadable certificate: ${error instanceof Error ? error.message : 'unknown'}`,
    };
  }
  if (certificates.length === 0) {
    return { problem: 'holds no certificate' };
  }
  const stranger = certificates.find((certificate) => !certificate.ca);
  if (stranger !== undefined) {
    return { problem: `holds a certificate that is not a CA (serial ${stranger.serialNumber})` };
  }
  return { bundle: { pem, anchors: certificates.map(anchorOf) } };
}

/** @returns null for a trust domain that is not trusted */
export function bundleOf(bundles: TrustBundles, trustDomain: string): TrustBundle | null {
  return trustDomain === bundles.trustDomain ? bundles.bundle : (bundles.federated.get(trustDomain) ?? null);
}

/** What OpenSSL is given: it knows no trust domains, so verifyPeer holds each peer against the bundle of its own. */
export function allPem({ bundle, federated }: Pick<TrustBundles, 'bundle' | 'federated'>): string {
  return [bundle, ...federated.values()].map(({ pem }) => pem).join('\n');
}

/**
 * Looks for the path from a leaf over the peer's intermediates to an anchor of the bundle by names, key
 * identifiers and signatures. Times, path lengths and constraints are the caller's and OpenSSL's to check.
 */
export function findChain(
  leaf: X509Certificate,
  intermediates: readonly X509Certificate[],
  bundle: TrustBundle,
): Chain | null {
  const path = [leaf];
  for (let current = leaf; path.length < CHAIN_CERTIFICATES_MAX; ) {
    const subject = current;
    const anchor = bundle.anchors.find(({ certificate }) => issued(certificate, subject));
    if (anchor !== undefined) {
      return { anchor, path: [...path, anchor.certificate] };
    }
    const next = intermediates.find(
      (certificate) => certificate.ca && !path.includes(certificate) && issued(certificate, subject),
    );
    if (next === undefined) {
      return null;
    }
    path.push(next);
    current = next;
  }
  return null;
}

function anchorOf(certificate: X509Certificate): TrustAnchor {
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return {
    certificate,
    keyId: createHash('sha256').update(spki).digest('base64url'),
    notAfterMs: certificate.validToDate.getTime(),
  };
}

function issued(issuer: X509Certificate, subject: X509Certificate): boolean {
  return subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
}
