import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { LeafRefusal, Purpose } from './leaf-certificate.ts';
import { claimedTrustDomain, readLeaf, thumbprint } from './leaf-certificate.ts';
import type { TrustBundles } from './trust-bundle.ts';
import { bundleOf, findChain } from './trust-bundle.ts';

/** What a verified certificate proves about the workload on the other end of a connection. */
export type PeerIdentity = {
  readonly spiffeId: string;
  readonly trustDomain: string;
  /** When the first certificate of the peer's chain ends, in milliseconds since the epoch. */
  readonly notAfterMs: number;
  /** SHA-256 of the certificate, base64url: `x5t#S256` of RFC 8705 §3.1. */
  readonly thumbprint: string;
  readonly serialNumber: string;
  /** Key id of the bundle's CA that vouches for the peer. */
  readonly issuerKeyId: string;
};

export type PeerRefusalReason =
  | LeafRefusal['reason']
  | 'NO_CERTIFICATE'
  | 'UNTRUSTED_ISSUER'
  | 'EXPIRED'
  | 'NOT_YET_VALID'
  | 'REJECTED_BY_TLS'
  | 'WRONG_SPIFFE_ID';

export type PeerRefusal = { readonly reason: PeerRefusalReason; readonly detail: string };

export type PeerResult = { readonly peer: PeerIdentity } | { readonly refusal: PeerRefusal };

export type PeerExpectation = {
  readonly trust: TrustBundles;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  /** Which side the peer is on. */
  readonly peerIs: Purpose;
  /** The one SPIFFE ID that is accepted; absent: any of the trust domains. */
  readonly spiffeId?: string;
};

/** Most certificates that a peer's chain is followed for. */
const PEER_CERTIFICATES_MAX = 10;

/**
 * Decides who is at the other end of a handshake that was let through with `rejectUnauthorized: false`. Call it on
 * 'secure' or 'secureConnect', before a byte is read or written, and destroy the socket on a refusal.
 *
 * The issuer is judged first: nothing that an unproven certificate says about itself is repeated as a reason.
 */
export function verifyPeer(socket: TLSSocket, expected: PeerExpectation): PeerResult {
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined) {
    return refuse('NO_CERTIFICATE', 'the peer has shown no certificate');
  }
  // Typed as an Error; a TLS client's holds an Error with a code, a TLS server's the bare code.
  const tlsError: unknown = socket.authorized ? null : socket.authorizationError;
  return judge(leaf, tlsError, expected);
}

/** @returns why a peer that was accepted once must go now, or null while it may stay */
export function staleness(
  peer: Pick<PeerIdentity, 'trustDomain' | 'notAfterMs' | 'issuerKeyId'>,
  trust: TrustBundles,
  nowMs: number,
): 'EXPIRED' | 'UNTRUSTED_ISSUER' | null {
  if (peer.notAfterMs <= nowMs) {
    return 'EXPIRED';
  }
  const anchors = bundleOf(trust, peer.trustDomain)?.anchors ?? [];
  return anchors.some(({ keyId }) => keyId === peer.issuerKeyId) ? null : 'UNTRUSTED_ISSUER';
}

/** Whether a peer that was accepted once may stay: its certificate has not expired, its CA is still in the bundle. */
export function isStillTrusted(peer: PeerIdentity, trust: TrustBundles, nowMs: number): boolean {
  return staleness(peer, trust, nowMs) === null;
}

function judge(leaf: X509Certificate, tlsError: unknown, expected: PeerExpectation): PeerResult {
  // What the leaf claims chooses the bundle that has to prove it: the CA of one trust domain vouches for no other.
  const claimed = claimedTrustDomain(leaf);
  const foreign = claimed === null ? undefined : expected.trust.federated.get(claimed);
  const trustDomain = foreign === undefined || claimed === null ? expected.trust.trustDomain : claimed;
  const chain = findChain(leaf, intermediatesOf(leaf), foreign ?? expected.trust.bundle);
  if (chain === null) {
    return refuse('UNTRUSTED_ISSUER', `no CA of the bundle has issued the certificate${suffix(tlsError)}`);
  }
  const notAfterMs = Math.min(...chain.path.map((certificate) => certificate.validToDate.getTime()));
  const notBeforeMs = Math.max(...chain.path.map((certificate) => certificate.validFromDate.getTime()));
  if (notAfterMs <= expected.nowMs) {
    return refuse('EXPIRED', `ended at ${new Date(notAfterMs).toISOString()}`);
  }
  if (notBeforeMs > expected.nowMs) {
    return refuse('NOT_YET_VALID', `begins at ${new Date(notBeforeMs).toISOString()}`);
  }
  if (tlsError !== null) {
    return refuse(reasonOfTls(codeOf(tlsError)), `TLS reports${suffix(tlsError)}`);
  }
  const read = readLeaf(leaf, trustDomain, [expected.peerIs]);
  if ('refusal' in read) {
    return { refusal: read.refusal };
  }
  if (expected.spiffeId !== undefined && read.id.uri !== expected.spiffeId) {
    return refuse('WRONG_SPIFFE_ID', `the peer is ${read.id.uri}, expected ${expected.spiffeId}`);
  }
  return {
    peer: {
      spiffeId: read.id.uri,
      trustDomain: read.id.trustDomain,
      notAfterMs,
      thumbprint: thumbprint(leaf),
      serialNumber: leaf.serialNumber,
      issuerKeyId: chain.anchor.keyId,
    },
  };
}

/** The certificates that came with the leaf, as Node links them. */
function intermediatesOf(leaf: X509Certificate): X509Certificate[] {
  const found: X509Certificate[] = [];
  let next = leaf.issuerCertificate;
  while (next !== undefined && found.length < PEER_CERTIFICATES_MAX) {
    found.push(next);
    next = next.issuerCertificate;
  }
  return found;
}

function codeOf(tlsError: unknown): string {
  if (tlsError instanceof Error && 'code' in tlsError && typeof tlsError.code === 'string') {
    return tlsError.code;
  }
  return typeof tlsError === 'string' ? tlsError : 'UNKNOWN';
}

function suffix(tlsError: unknown): string {
  return tlsError === null ? '' : ` (${codeOf(tlsError)})`;
}

/** OpenSSL's clock is the machine's; the injected one may differ from it. */
function reasonOfTls(code: string): PeerRefusalReason {
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return 'EXPIRED';
    case 'CERT_NOT_YET_VALID':
      return 'NOT_YET_VALID';
    case 'INVALID_PURPOSE':
      return 'WRONG_KEY_USAGE';
    default:
      return 'REJECTED_BY_TLS';
  }
}

function refuse(reason: PeerRefusalReason, detail: string): { readonly refusal: PeerRefusal } {
  return { refusal: { reason, detail } };
}
