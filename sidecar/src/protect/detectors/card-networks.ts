/** Issuer identification numbers (ISO/IEC 7812) from `from` to `to`, both with as many digits as the prefix has. */
interface CardRange {
  readonly from: number;
  readonly to: number;
  /** Digits of a whole number. */
  readonly lengths: readonly number[];
}

const range = (from: number, to: number, ...lengths: number[]): CardRange => ({ from, to, lengths });

/** What the networks publish of their ranges. Where two overlap, either makes a card. */
const CARD_RANGES: readonly CardRange[] = [
  range(4, 4, 13, 16, 18, 19), // Visa, Visa Electron, Dankort, Elo, Switch
  range(51, 55, 16), // Mastercard, Diners Club US
  range(2221, 2720, 16), // Mastercard
  range(34, 34, 15), // American Express
  range(37, 37, 15),
  range(300, 305, 14, 16, 17, 18, 19), // Diners Club
  range(3095, 3095, 14, 16, 17, 18, 19),
  range(36, 36, 14, 15, 16, 17, 18, 19),
  range(38, 39, 14, 16, 17, 18, 19),
  range(6011, 6011, 16, 17, 18, 19), // Discover
  range(644, 649, 16, 17, 18, 19),
  range(65, 65, 16, 17, 18, 19), // Discover, RuPay, Troy, Elo, Verve
  range(3528, 3589, 16, 17, 18, 19), // JCB, RuPay
  range(62, 62, 16, 17, 18, 19), // UnionPay
  range(81, 82, 16, 17, 18, 19), // UnionPay, RuPay
  range(5018, 5018, 12, 13, 14, 15, 16, 17, 18, 19), // Maestro
  range(5020, 5020, 12, 13, 14, 15, 16, 17, 18, 19),
  range(5038, 5038, 12, 13, 14, 15, 16, 17, 18, 19),
  range(5893, 5893, 12, 13, 14, 15, 16, 17, 18, 19),
  range(6304, 6304, 12, 13, 14, 15, 16, 17, 18, 19),
  range(6759, 6759, 12, 13, 14, 15, 16, 17, 18, 19),
  range(6761, 6763, 12, 13, 14, 15, 16, 17, 18, 19),
  range(50, 50, 16, 17, 18, 19), // Maestro, Verve, Elo, RuPay, Dankort
  range(56, 58, 16, 17, 18, 19), // Maestro, Uzcard, Switch
  range(60, 61, 13, 16, 17, 18, 19), // Maestro, RuPay, Hipercard, UkrCard
  range(63, 64, 16, 17, 18, 19), // Maestro, InterPayment, InstaPayment, Elo, Solo
  range(66, 69, 16, 17, 18, 19), // Maestro
  range(2200, 2205, 16, 17, 18, 19), // Mir, Borica
  range(9792, 9792, 16), // Troy
  range(8600, 8600, 16), // Uzcard
  range(9860, 9860, 16), // Humo
  range(3571, 3571, 16), // LankaPay
  range(384, 384, 13, 16, 19), // Hipercard
  range(1, 1, 15), // UATP
];

/** By digits of the prefix less one, then by prefix: the lengths that numbers beginning so can have, one bit each. */
const LENGTHS = [1, 2, 3, 4].map((digits) => {
  const lengths = new Uint32Array(10 ** digits);
  for (const { from, to, lengths: possible } of CARD_RANGES) {
    const scale = 10 ** (digits - String(from).length);
    const bits = possible.reduce((sum, length) => sum | (1 << length), 0);
    const last = Math.ceil((to + 1) * scale) - 1;
    for (let prefix = Math.floor(from * scale); prefix <= last; prefix++) {
      lengths[prefix] = (lengths[prefix] ?? 0) | bits;
    }
  }
  return lengths;
});

export const CARD_DIGITS_MIN = 12;
export const CARD_DIGITS_MAX = 19;

/** How long numbers can be that begin with these digits, one to four of them: bit n for n digits. */
export function cardLengths(prefix: number, digits: number): number {
  return LENGTHS[digits - 1]?.[prefix] ?? 0;
}
