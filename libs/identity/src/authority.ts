import { trustDomainProblem } from './spiffe-id.ts';

export type AuthorityOptions = {
  readonly trustDomain: string;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  readonly validForMs: number;
  /** Makes this an intermediate CA below `parent`, whose root then stands in the bundle. */
  readonly parent?: Authority;
};

export type IssueOptions = {
  readonly spiffeId: string;
  readonly validForMs: number;
  readonly dnsNames?: readonly string[];
};

/** What {@link Authority.issueFlawed} lets a test get wrong on purpose. */
export type FlawedOptions = {
  /** URI names, put in as they are: none, several, or no SPIFFE ID at all. */
  readonly uris: readonly string[];
  readonly validForMs: number;
  readonly dnsNames?: readonly string[];
  /** Marks the leaf as a CA. Default: false. */
  readonly ca?: boolean;
  /** Default: both. */
  readonly purposes?: readonly ('client' | 'server')[];
};

export type Credentials = {
  /** Leaf first, then intermediates; the root is in the bundle only. */
  readonly certificatePem: string;
  /** PKCS #8. */
  readonly keyPem: string;
};

/** A certificate authority for one trust domain whose key never leaves the process: for development and tests. */
export type Authority = {
  readonly trustDomain: string;
  /** The root's certificate: what peers put into their bundle. */
  readonly bundlePem: string;
  /** @throws TypeError when the ID is malformed or of another trust domain */
  issue(options: IssueOptions): Promise<Credentials>;
  /** Issues a certificate that breaks the rules, to prove that peers refuse it. */
  issueFlawed(options: FlawedOptions): Promise<Credentials>;
  /** Signs the certificate of an intermediate CA and returns its PEM. */
  signAuthority(request: { publicKey: CryptoKey; notBefore: Date; notAfter: Date }): Promise<string>;
};

/**
 * Creates a CA with an ECDSA P-256 key. Two calls for one trust domain make two CAs of the same name that do not
 * trust each other.
 *
 * The X.509 library is loaded here, at the first call: it takes 20 MB that a process without a CA should not pay.
 *
 * @throws TypeError when the name of the trust domain is malformed
 */
export async function createAuthority(options: AuthorityOptions): Promise<Authority> {
  const problem = trustDomainProblem(options.trustDomain);
  if (problem !== null) {
    throw new TypeError(`"${options.trustDomain}" ${problem}`);
  }
  const { openAuthority } = await import('./sign-certificates.ts');
  return openAuthority(options);
}
