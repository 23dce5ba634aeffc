import { createPrivateKey } from 'node:crypto';
import type { SecureContext } from 'node:tls';
import { createSecureContext } from 'node:tls';
import { contextOptions } from './context-options.ts';
import { readLeaf } from './leaf-certificate.ts';
import type { TrustBundle, TrustBundles } from './trust-bundle.ts';
import { allPem, findChain, parseCertificates, parseTrustBundle } from './trust-bundle.ts';

/** This workload's own identity: one consistent set of certificate, key and bundle. */
export type Identity = TrustBundles & {
  readonly spiffeId: string;
  /** The chain as the file holds it, leaf first. */
  readonly certificatePem: string;
  readonly keyPem: string;
  /** When the last certificate of the chain began to be valid, and when the first of them ends, in milliseconds since the epoch. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** TLS 1.3 only, for servers and clients. */
  readonly secureContext: SecureContext;
  /** 1 for the first set, one more for each that replaced it. */
  readonly generation: number;
};

export type IdentityFault =
  | 'FILE_UNREADABLE'
  | 'CERTIFICATE_INVALID'
  | 'KEY_INVALID'
  | 'KEY_MISMATCH'
  | 'BUNDLE_INVALID'
  | 'NOT_IN_BUNDLE'
  | 'EXPIRED'
  | 'NOT_YET_VALID'
  | 'WORKLOAD_API_FAILED';

export type IdentityProblem = { readonly code: IdentityFault; readonly detail: string };

/** PEM texts that are to become one identity. */
export type IdentityMaterial = {
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly bundlePem: string;
  /** CA certificates of foreign trust domains, by their names. Default: none. */
  readonly federatedPem?: ReadonlyMap<string, string>;
};

/** Checks that the three texts belong together and are good now; nothing of a set that fails is used. */
export function makeIdentity(
  material: IdentityMaterial,
  at: { readonly trustDomain: string; readonly nowMs: number; readonly generation: number },
): { readonly identity: Identity } | { readonly problem: IdentityProblem } {
  const { certificatePem, keyPem } = material;
  let certificates: ReturnType<typeof parseCertificates>;
  try {
    certificates = parseCertificates(certificatePem);
  } catch (error) {
    return fault('CERTIFICATE_INVALID', error instanceof Error ? error.message : 'unreadable certificate');
  }
  const [leaf, ...intermediates] = certificates;
  if (leaf === undefined) {
    return fault('CERTIFICATE_INVALID', 'the file holds no certificate');
  }
  const read = readLeaf(leaf, at.trustDomain, ['client', 'server']);
  if ('refusal' in read) {
    return fault('CERTIFICATE_INVALID', read.refusal.detail);
  }
  let matches: boolean;
  try {
    matches = leaf.checkPrivateKey(createPrivateKey(keyPem));
  } catch {
    // OpenSSL's message could quote the file, which holds a private key.
    return fault('KEY_INVALID', 'the file holds no readable private key');
  }
  if (!matches) {
    return fault('KEY_MISMATCH', 'the private key is not the one of the certificate');
  }
  const trusted = parseTrustBundle(material.bundlePem);
  if ('problem' in trusted) {
    return fault('BUNDLE_INVALID', `the bundle ${trusted.problem}`);
  }
  const { bundle } = trusted;
  const federated = parseFederated(material.federatedPem ?? new Map());
  if ('problem' in federated) {
    return fault('BUNDLE_INVALID', federated.problem);
  }
  const chain = findChain(leaf, intermediates, bundle);
  if (chain === null) {
    return fault('NOT_IN_BUNDLE', 'no CA of the bundle has issued the certificate');
  }
  const notAfterMs = Math.min(...chain.path.map((certificate) => certificate.validToDate.getTime()));
  const notBeforeMs = Math.max(...chain.path.map((certificate) => certificate.validFromDate.getTime()));
  if (notAfterMs <= at.nowMs) {
    return fault('EXPIRED', `the certificate or its issuer ended at ${new Date(notAfterMs).toISOString()}`);
  }
  if (notBeforeMs > at.nowMs) {
    return fault(
      'NOT_YET_VALID',
      `the certificate or its issuer begins at ${new Date(notBeforeMs).toISOString()}`,
    );
  }
  return {
    identity: {
      spiffeId: read.id.uri,
      trustDomain: at.trustDomain,
      certificatePem,
      keyPem,
      bundle,
      federated: federated.bundles,
      notBeforeMs,
      notAfterMs,
      secureContext: createSecureContext(
        contextOptions({ ...material, bundlePem: allPem({ bundle, federated: federated.bundles }) }),
      ),
      generation: at.generation,
    },
  };
}

function parseFederated(
  pems: ReadonlyMap<string, string>,
): { readonly bundles: ReadonlyMap<string, TrustBundle> } | { readonly problem: string } {
  const bundles = new Map<string, TrustBundle>();
  for (const [trustDomain, pem] of pems) {
    const parsed = parseTrustBundle(pem);
    if ('problem' in parsed) {
      return { problem: `the bundle of ${trustDomain} ${parsed.problem}` };
    }
    bundles.set(trustDomain, parsed.bundle);
  }
  return { bundles };
}

function fault(code: IdentityFault, detail: string): { readonly problem: IdentityProblem } {
  return { problem: { code, detail } };
}
