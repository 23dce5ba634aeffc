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

/** Whether a pattern matches an identity, or all that another pattern matches. */
export function coversIdentity(broad: IdentityPattern, narrow: IdentityPattern): boolean {
  if (broad.trustDomain !== narrow.trustDomain) return false;
  const takesRest = broad.segments.at(-1) === '**';
  const fixed = takesRest ? broad.segments.length - 1 : broad.segments.length;
  const { length } = narrow.segments;
  if (takesRest ? length <= fixed : length !== fixed) return false;
  for (let i = 0; i < fixed; i++) {
    const [one, other] = [broad.segments[i], narrow.segments[i]];
    if (one === '*' ? other === '**' : one !== other) return false;
  }
  return true;
}
