import type { Random } from './random.ts';

interface Issuer {
  readonly network: string;
  /** First digits, from and to. */
  readonly prefixes: readonly (readonly [number, number])[];
  readonly lengths: readonly number[];
}

/**
 * Issuer identification number ranges under ISO/IEC 7812-1, as the networks publish them for those who accept their cards
 * (and as tabulated in the "Payment card number" article of Wikipedia).
 */
const ISSUERS: readonly Issuer[] = [
  { network: 'Visa', prefixes: [[4, 4]], lengths: [16, 16, 16, 13, 19] },
  {
    network: 'Mastercard',
    prefixes: [
      [51, 55],
      [2221, 2720],
    ],
    lengths: [16],
  },
  {
    network: 'American Express',
    prefixes: [
      [34, 34],
      [37, 37],
    ],
    lengths: [15],
  },
  {
    network: 'Diners Club',
    prefixes: [
      [300, 305],
      [3095, 3095],
      [36, 36],
      [38, 39],
    ],
    lengths: [14],
  },
  {
    network: 'Discover',
    prefixes: [
      [6011, 6011],
      [644, 649],
      [65, 65],
    ],
    lengths: [16, 19],
  },
  { network: 'JCB', prefixes: [[3528, 3589]], lengths: [16, 19] },
  { network: 'UnionPay', prefixes: [[62, 62]], lengths: [16, 17, 18, 19] },
  {
    network: 'Maestro',
    prefixes: [
      [5018, 5018],
      [5020, 5020],
      [5038, 5038],
      [5893, 5893],
      [6304, 6304],
      [6759, 6759],
      [6761, 6763],
    ],
    lengths: [12, 13, 14, 15, 16, 18, 19],
  },
  { network: 'Mir', prefixes: [[2200, 2204]], lengths: [16, 19] },
  {
    network: 'RuPay',
    prefixes: [
      [60, 60],
      [65, 65],
      [81, 82],
      [508, 508],
    ],
    lengths: [16],
  },
  {
    network: 'Troy',
    prefixes: [
      [65, 65],
      [9792, 9792],
    ],
    lengths: [16],
  },
  {
    network: 'Verve',
    prefixes: [
      [506099, 506198],
      [650002, 650027],
      [507865, 507964],
    ],
    lengths: [16, 18, 19],
  },
  {
    network: 'Elo',
    prefixes: [
      [506699, 506778],
      [509000, 509999],
      [636297, 636297],
    ],
    lengths: [16],
  },
  { network: 'Hipercard', prefixes: [[606282, 606282]], lengths: [16] },
  { network: 'Dankort', prefixes: [[5019, 5019]], lengths: [16] },
  { network: 'InterPayment', prefixes: [[636, 636]], lengths: [16, 19] },
  { network: 'InstaPayment', prefixes: [[637, 639]], lengths: [16] },
  { network: 'LankaPay', prefixes: [[357111, 357111]], lengths: [16] },
  { network: 'UkrCard', prefixes: [[60400100, 60420099]], lengths: [16, 19] },
  { network: 'Uzcard', prefixes: [[8600, 8600]], lengths: [16] },
  { network: 'Humo', prefixes: [[9860, 9860]], lengths: [16] },
  { network: 'UATP', prefixes: [[1, 1]], lengths: [15] },
];

/** Annex B of ISO/IEC 7812-1: from the right, every second digit counts twice. */
export function luhnDigit(body: string): string {
  let sum = 0;
  for (const [place, digit] of Array.from(body).toReversed().entries()) {
    const value = Number(digit) * (place % 2 === 0 ? 2 : 1);
    sum += Math.floor(value / 10) + (value % 10);
  }
  return String((10 - (sum % 10)) % 10);
}

export function cardDigits(random: Random): string {
  const { prefixes, lengths } = random.pick(ISSUERS);
  const [from, to] = random.pick(prefixes);
  const prefix = String(random.integer(from, to));
  const body = prefix + random.string(random.pick(lengths) - prefix.length - 1);
  return body + luhnDigit(body);
}

export function cardNumber(random: Random): string {
  return layOut(random, cardDigits(random));
}

/** As people, forms, PDFs and models write them. */
function layOut(random: Random, digits: string): string {
  const grouped = groups(digits);
  const separator = random.pick([
    ' ',
    ' ',
    ' ',
    '-',
    '-',
    '.',
    '\u00a0',
    '\u2009',
    '  ',
    ' - ',
    '\u2013',
    '\n',
    '\r\n',
    '\t',
  ]);
  switch (random.integer(0, 12)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return digits;
    case 4:
      return Array.from(digits).join(random.pick([' ', '-', '.', '\n']));
    case 5:
      return Array.from(digits, (digit) => String.fromCodePoint(0xff10 + Number(digit))).join('');
    case 6:
      return digits.replace(/(?<=^.{5})/, random.pick(['\u200b', '\u00ad', '\u2060', '\ufeff']));
    case 7:
      return `${digits.slice(0, 6)}${separator}${digits.slice(6)}`;
    default:
      return grouped.join(separator);
  }
}

/** 4-6-5 and 4-6-4 for numbers of fifteen and fourteen digits, fours for others. */
function groups(digits: string): readonly string[] {
  if (digits.length === 14 || digits.length === 15) {
    return [digits.slice(0, 4), digits.slice(4, 10), digits.slice(10)];
  }
  return digits.match(/.{1,4}/g) ?? [digits];
}
