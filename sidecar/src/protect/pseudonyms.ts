/** Makes the pseudonyms of one key. The same value gets the same pseudonym for as long as the key is the same. */
export interface Pseudonyms {
  /** Keyed and one-way (HMAC-SHA-256, RFC 2104), of the canonical form: `[CARD~…]`. */
  oneWay(name: string, canonical: string): string;
  /** Deterministic authenticated encryption of the match as it was (AES-SIV, RFC 5297): `[CARD=…]`. */
  reversible(name: string, match: string): string;
  /** The match behind a reversible pseudonym; null: not made with this key. */
  reveal(pseudonym: string): string | null;
}

export function createPseudonyms(_key: Uint8Array): Pseudonyms {
  throw new Error('not here yet');
}
