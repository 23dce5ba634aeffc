import { ALPHABET, type Random } from './random.ts';

/**
 * Structure of the account number by country, in the notation of the SWIFT IBAN Registry (ISO 13616-2): a count and n for
 * digits, a for upper case letters, c for both. All lengths are fixed.
 */
const STRUCTURES: Readonly<Record<string, string>> = {
  AD: '8n12c',
  AE: '19n',
  AL: '8n16c',
  AT: '16n',
  AZ: '4a20c',
  BA: '16n',
  BE: '12n',
  BG: '4a6n8c',
  BH: '4a14c',
  BR: '23n1a1c',
  CH: '5n12c',
  CR: '18n',
  CY: '8n16c',
  CZ: '20n',
  DE: '18n',
  DK: '14n',
  DO: '4c20n',
  EE: '16n',
  ES: '20n',
  FI: '14n',
  FO: '14n',
  FR: '10n11c2n',
  GB: '4a14n',
  GE: '2a16n',
  GI: '4a15c',
  GL: '14n',
  GR: '7n16c',
  GT: '4c20c',
  HR: '17n',
  HU: '24n',
  IE: '4a14n',
  IL: '19n',
  IS: '22n',
  IT: '1a10n12c',
  JO: '4a4n18c',
  KW: '4a22c',
  KZ: '3n13c',
  LB: '4n20c',
  LI: '5n12c',
  LT: '16n',
  LU: '3n13c',
  LV: '4a13c',
  MC: '10n11c2n',
  MD: '2c18c',
  ME: '18n',
  MK: '3n10c2n',
  MR: '23n',
  MT: '4a5n18c',
  MU: '4a19n3a',
  NL: '4a10n',
  NO: '11n',
  PK: '4a16c',
  PL: '24n',
  PS: '4a21c',
  PT: '21n',
  QA: '4a21c',
  RO: '4a16c',
  RS: '18n',
  SA: '2n18c',
  SE: '20n',
  SI: '15n',
  SK: '20n',
  SM: '1a10n12c',
  TN: '20n',
  TR: '5n1n16c',
  UA: '6n19c',
  VG: '4a16n',
  XK: '16n',
};

export const IBAN_COUNTRIES = Object.keys(STRUCTURES);

export function accountNumber(random: Random): string {
  const country = random.pick(IBAN_COUNTRIES);
  const account = fill(random, STRUCTURES[country] ?? '');
  const whole = country + checkDigits(country, account) + account;
  switch (random.integer(0, 6)) {
    case 0:
    case 1:
      return whole;
    case 2:
      return whole.toLowerCase();
    case 3:
      return fours(whole).join('-');
    case 4:
      return fours(whole).join('\u00a0');
    default:
      return fours(whole).join(' ');
  }
}

export function fours(whole: string): readonly string[] {
  return whole.match(/.{1,4}/g) ?? [];
}

function fill(random: Random, structure: string): string {
  return structure.replaceAll(/(\d+)([nac])/g, (_, count: string, kind: string) => {
    const alphabet = { n: ALPHABET.digits, a: ALPHABET.upper, c: ALPHABET.upperAlphanumeric }[kind];
    return random.string(Number(count), alphabet);
  });
}

/** ISO 7064 MOD 97-10: 98 less the remainder with 00 in their place. */
export function checkDigits(country: string, account: string): string {
  const digits = `${account}${country}00`.replaceAll(/[A-Z]/g, (letter) => String(letter.charCodeAt(0) - 55));
  return String(98n - (BigInt(digits) % 97n)).padStart(2, '0');
}
