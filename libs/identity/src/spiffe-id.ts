/** A SPIFFE ID that has been checked, as its one canonical text: `spiffe://<trust domain>/<segment>/…`. */
export type SpiffeId = {
  readonly uri: string;
  readonly trustDomain: string;
  /** Path segments without slashes; empty for the ID of a trust domain itself. */
  readonly segments: readonly string[];
};

export type SpiffeIdResult = { readonly id: SpiffeId } | { readonly problem: string };

/** SPIFFE-ID §2.3: longer URIs must be neither made nor accepted. */
const URI_BYTES_MAX = 2048;
/** SPIFFE-ID §2.1. */
const TRUST_DOMAIN_BYTES_MAX = 255;
const SCHEME = 'spiffe://';
const TRUST_DOMAIN = /^[a-z0-9._-]+$/;
const SEGMENT = /^[a-zA-Z0-9._-]+$/;

/**
 * Reads a SPIFFE ID (SPIFFE-ID §2) without normalising anything: what is accepted is already canonical, so two
 * IDs are equal exactly when their texts are.
 *
 * @returns the ID, or a sentence that says which rule the text breaks
 */
export function parseSpiffeId(text: string): SpiffeIdResult {
  if (Buffer.byteLength(text) > URI_BYTES_MAX) {
    return { problem: `longer than ${URI_BYTES_MAX} bytes` };
  }
  if (!text.startsWith(SCHEME)) {
    return { problem: `does not begin with "${SCHEME}"` };
  }
  const rest = text.slice(SCHEME.length);
  if (rest.includes('?')) {
    return { problem: 'has a query' };
  }
  if (rest.includes('#')) {
    return { problem: 'has a fragment' };
  }
  const slash = rest.indexOf('/');
  const trustDomain = slash < 0 ? rest : rest.slice(0, slash);
  const problem =
    trustDomainProblem(trustDomain) ?? (slash < 0 ? null : pathProblem(rest.slice(slash + 1).split('/')));
  if (problem !== null) {
    return { problem };
  }
  const segments = slash < 0 ? [] : rest.slice(slash + 1).split('/');
  return { id: { uri: text, trustDomain, segments } };
}

/** @returns what is wrong with the name of a trust domain, or null */
export function trustDomainProblem(name: string): string | null {
  if (name === '') {
    return 'has no trust domain';
  }
  if (name.includes('@')) {
    return 'has user information before the trust domain';
  }
  if (name.includes(':')) {
    return 'has a port after the trust domain';
  }
  if (name.length > TRUST_DOMAIN_BYTES_MAX) {
    return `has a trust domain longer than ${TRUST_DOMAIN_BYTES_MAX} bytes`;
  }
  if (!TRUST_DOMAIN.test(name)) {
    return 'has a trust domain with characters other than lower-case letters, digits, ".", "-" and "_"';
  }
  return null;
}

function pathProblem(segments: readonly string[]): string | null {
  for (const [index, segment] of segments.entries()) {
    if (segment === '') {
      return index === segments.length - 1 ? 'ends with a slash' : 'has an empty path segment';
    }
    if (segment === '.' || segment === '..') {
      return `has the relative path segment "${segment}"`;
    }
    if (!SEGMENT.test(segment)) {
      return 'has a path segment with characters other than letters, digits, ".", "-" and "_"';
    }
  }
  return null;
}
