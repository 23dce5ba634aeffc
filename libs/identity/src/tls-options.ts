import type { ConnectionOptions, TlsOptions } from 'node:tls';
import { contextOptions } from './context-options.ts';
import type { Identity } from './identity.ts';
import { allPem } from './trust-bundle.ts';

const ALPN_PROTOCOLS = ['h2'];

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
