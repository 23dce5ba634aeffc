import { createHmac, hkdfSync } from 'node:crypto';
import { aessiv } from '@noble/ciphers/aes.js';
import { PSEUDONYM_KEY_BYTES_MIN } from './open-pseudonyms.ts';

/** Makes the pseudonyms of one key. The same value gets the same pseudonym for as long as the key is the same. */
export interface Pseudonyms {
  /** Keyed and one-way (HMAC-SHA-256, RFC 2104), of the canonical form: `[CARD~…]`. */
  oneWay(name: string, canonical: string): string;
  /** Deterministic authenticated encryption of the match as it was (AES-SIV, RFC 5297): `[CARD=…]`. */
  reversible(name: string, match: string): string;
  /** The match behind a reversible pseudonym; null: not made with this key. */
  reveal(pseudonym: string): string | null;
}

const ONE_WAY_BYTES = 16;
const SIV_KEY_BYTES = 64;
const HMAC_KEY_BYTES = 32;
const REVERSIBLE = /^\[([A-Z][A-Z0-9_]*)=((?:[a-p]{2})+)\]$/;

/**
 * @param secret At least PSEUDONYM_KEY_BYTES_MIN bytes, of which each use has a key of its own (HKDF, RFC 5869).
 * @throws RangeError when it is shorter
 */
export function createPseudonyms(secret: Uint8Array): Pseudonyms {
  if (secret.length < PSEUDONYM_KEY_BYTES_MIN) {
    throw new RangeError(`a key for pseudonyms has at least ${PSEUDONYM_KEY_BYTES_MIN} bytes`);
  }
  const hmacKey = derive(secret, 'gatehouse pseudonym one-way', HMAC_KEY_BYTES);
  const sivKey = derive(secret, 'gatehouse pseudonym reversible', SIV_KEY_BYTES);
  return {
    oneWay(name, canonical) {
      const mac = createHmac('sha256', hmacKey).update(`${name}\0${canonical}`).digest();
      return `[${name}~${lettersOf(mac.subarray(0, ONE_WAY_BYTES))}]`;
    },
    reversible(name, match) {
      return `[${name}=${lettersOf(aessiv(sivKey, Buffer.from(name)).encrypt(Buffer.from(match)))}]`;
    },
    reveal(pseudonym) {
      const [, name, letters] = REVERSIBLE.exec(pseudonym) ?? [];
      if (name === undefined || letters === undefined) return null;
      try {
        return Buffer.from(aessiv(sivKey, Buffer.from(name)).decrypt(bytesOf(letters))).toString();
      } catch {
        return null;
      }
    },
  };
}

function derive(secret: Uint8Array, use: string, bytes: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, '', use, bytes));
}

/** Hexadecimal with the letters a to p: no detector takes a pseudonym for a number or a key. */
function lettersOf(bytes: Uint8Array): string {
  let letters = '';
  for (const byte of bytes) letters += String.fromCharCode(0x61 + (byte >> 4), 0x61 + (byte & 15));
  return letters;
}

function bytesOf(letters: string): Uint8Array {
  return Uint8Array.from({ length: letters.length / 2 }, (_, index) => {
    return ((letters.charCodeAt(index * 2) - 0x61) << 4) | (letters.charCodeAt(index * 2 + 1) - 0x61);
  });
}
