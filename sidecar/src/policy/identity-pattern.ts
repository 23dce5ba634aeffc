/** A SPIFFE ID as rules name it: `*` for one path segment, `**` at the end for one or more. */
export interface IdentityPattern {
  readonly trustDomain: string;
  readonly segments: readonly string[];
  /** Whether it stands for one identity alone. */
  readonly isExact: boolean;
}

const ID_LENGTH_MAX = 2048;
const SCHEME = 'spiffe://';

/** Characters of a trust domain (SPIFFE-ID §2.1). */
export const TRUST_DOMAIN_PATTERN = /^[a-z0-9._-]{1,255}$/;
const SEGMENT_PATTERN = /^[A-Za-z0-9._-]+$/;

/** Undefined: not a SPIFFE ID with a path (SPIFFE-ID §2), or a wildcard where none may stand. */
export function parseIdentityPattern(text: string): IdentityPattern | undefined {
  if (text.length > ID_LENGTH_MAX || !text.startsWith(SCHEME)) return undefined;
  const [trustDomain = '', ...segments] = text.slice(SCHEME.length).split('/');
  const isSegment = (segment: string, index: number): boolean =>
    segment === '*' ||
    (segment === '**' && index === segments.length - 1) ||
    (SEGMENT_PATTERN.test(segment) && segment !== '.' && segment !== '..');
  if (!TRUST_DOMAIN_PATTERN.test(trustDomain) || segments.length === 0 || !segments.every(isSegment))
    return undefined;
  return { trustDomain, segments, isExact: !segments.some((segment) => segment.startsWith('*')) };
}

/** `identity` must be exact. */
export function matchesIdentity(pattern: IdentityPattern, identity: IdentityPattern): boolean {
  if (pattern.trustDomain !== identity.trustDomain) return false;
  const takesRest = pattern.segments.at(-1) === '**';
  const fixed = takesRest ? pattern.segments.length - 1 : pattern.segments.length;
  const { length } = identity.segments;
  if (takesRest ? length <= fixed : length !== fixed) return false;
  for (let i = 0; i < fixed; i++) {
    const segment = pattern.segments[i];
    if (segment !== '*' && segment !== identity.segments[i]) return false;
  }
  return true;
}
