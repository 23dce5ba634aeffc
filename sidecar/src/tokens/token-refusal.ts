/** Why a token is refused, with a sentence for the caller each. */
const SENTENCES = {
  TOKEN_TOO_LARGE: 'The token is larger than this server reads.',
  TOKEN_MALFORMED: 'The token is not a signed JWT with an expiry.',
  TOKEN_TYPE: 'The token is of a type that is not meant for access.',
  TOKEN_ISSUER: 'The token is of an issuer that the policy does not name.',
  TOKEN_ALGORITHM: 'The token is signed with an algorithm that is not accepted from its issuer.',
  TOKEN_KEY: 'The token is signed with a key that its issuer does not publish.',
  TOKEN_SIGNATURE: 'The signature of the token is wrong.',
  TOKEN_AUDIENCE: 'The token is meant for another audience.',
  TOKEN_EXPIRED: 'The token has expired.',
  TOKEN_NOT_YET_VALID: 'The token is not valid yet.',
  TOKEN_BINDING: 'The token is bound to another workload.',
  TOKEN_KEYS_UNAVAILABLE: 'The keys of the issuer of the token cannot be had at the moment.',
} as const;

export type TokenRefusalReason = keyof typeof SENTENCES;

export interface TokenRefusal {
  /** ErrorInfo.reason */
  readonly reason: TokenRefusalReason;
  readonly sentence: string;
  /** The issuer's name in the policy document; null before it is known. */
  readonly issuer: string | null;
}

export function refuse(
  reason: TokenRefusalReason,
  issuer: string | null = null,
): { readonly refusal: TokenRefusal } {
  return { refusal: { reason, sentence: SENTENCES[reason], issuer } };
}
