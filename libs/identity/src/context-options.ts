import { constants } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';

/**
 * The part that both sides share. TLS 1.3 alone, so there is no renegotiation and no weak suite. SSL_OP_NO_TICKET
 * makes resumption stateful, and no session store exists, so a resumed handshake falls back to a full one:
 * a session must not outlive a certificate, a bundle or a policy. Node has no early data.
 */
export function contextOptions(material: {
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly bundlePem: string;
}): SecureContextOptions {
  return {
    cert: material.certificatePem,
    key: material.keyPem,
    ca: material.bundlePem,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
    // A bundle may hold an anchor that another CA has signed (X509-SVID §5.1 asks for no self-signature).
    allowPartialTrustChain: true,
  };
}
