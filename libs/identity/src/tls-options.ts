import { constants } from 'node:crypto';
import type { ConnectionOptions, SecureContextOptions, TlsOptions } from 'node:tls';
import type { Identity } from './identity.ts';
import { allPem } from './trust-bundle.ts';

const ALPN_PROTOCOLS = ['h2'];

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

/**
 * Options for `tls.createServer` and, after a rotation, for `server.setSecureContext`; also good for
 * `new TLSSocket(socket, {isServer: true, …})`. A client certificate is asked for but not judged here: every
 * socket must go through {@link verifyPeer} before its first byte is read.
 */
export function serverTlsOptions(
  identity: Identity,
): TlsOptions & { secureContext: Identity['secureContext'] } {
  return {
    ...contextOptions({
      certificatePem: identity.certificatePem,
      keyPem: identity.keyPem,
      bundlePem: allPem(identity),
    }),
    secureContext: identity.secureContext,
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ALPN_PROTOCOLS,
  };
}

/**
 * Options for `tls.connect`, to be joined with an address. The server's name in DNS means nothing here, and OpenSSL's
 * verdict is kept for {@link verifyPeer}, which must be asked before the first byte is written. No session is
 * ever passed on, so every handshake is a full one.
 */
export function clientTlsOptions(identity: Identity): ConnectionOptions {
  return {
    secureContext: identity.secureContext,
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ALPNProtocols: ALPN_PROTOCOLS,
  };
}
