import { accountNumber } from './account-numbers.ts';
import { apiKey } from './api-keys.ts';
import { cardNumber } from './card-numbers.ts';
import { HARD_NEGATIVES } from './hard-negatives.ts';
import { mailAddress } from './mail-addresses.ts';
import { phoneNumber } from './phone-numbers.ts';
import { privateKey } from './private-keys.ts';
import { inProse } from './prose.ts';
import { Random } from './random.ts';
import { usSsn } from './us-ssns.ts';

interface Secret {
  /** The detector that should find it. */
  readonly kind: string;
  readonly start: number;
  readonly end: number;
}

/** A text as people and models write it, with one sensitive value in it or, as a hard negative, none. */
export interface Document {
  readonly text: string;
  readonly secret: Secret | null;
  /** What the value is. */
  readonly about: string;
}

interface Value {
  /** Stands before the value and shows what it is. */
  readonly label: string;
  readonly value: string;
}

const bare =
  (make: (random: Random) => string) =>
  (random: Random): Value => ({ label: '', value: make(random) });

const CODE_NAMES = [
  'Blue Heron',
  'projekt nordlicht',
  'Kestrel',
  'Übermorgen',
  'Operation Tarnkappe',
  'Zephyr-9',
  '青鸟计划',
];

/** Detectors that a policy would add, for the corpus to hold something that they find. */
export const CUSTOM_DETECTORS = [
  { name: 'EMPLOYEE', pattern: '\\bEMP-[0-9]{6}(?:-[A-Z]{2})?\\b' },
  { name: 'CODE_NAME', words: CODE_NAMES },
];

const SECRETS: Readonly<Record<string, (random: Random) => Value>> = {
  CARD: bare(cardNumber),
  IBAN: bare(accountNumber),
  US_SSN: usSsn,
  EMAIL: bare(mailAddress),
  PHONE: phoneNumber,
  API_KEY: apiKey,
  PRIVATE_KEY: bare(privateKey),
  EMPLOYEE: bare(
    (random) => `EMP-${random.string(6)}${random.chance(0.5) ? `-${random.string(2, 'ABCDEFG')}` : ''}`,
  ),
  CODE_NAME: bare((random) => {
    const name = random.pick(CODE_NAMES);
    return random.pick([name, name.toUpperCase(), name.toLowerCase()]);
  }),
};

export const SECRET_KINDS = Object.keys(SECRETS);

/** Near misses of the custom detectors. */
const CUSTOM_NEGATIVES: Readonly<Record<string, (random: Random) => string>> = {
  'code like an employee': (random) =>
    random.pick([`EMP-${random.string(5)}`, `TEMP-${random.string(6)}`, `EMP-${random.string(8)}`]),
  'word like a code name': (random) =>
    random.pick(['kestrels', 'Zephyr-91', 'blue herons', 'vorübermorgen', 'Blue  Heron']),
};

/** `each` documents for every kind of secret and a quarter of that for every kind of hard negative. */
export function makeCorpus({
  seed,
  each,
}: {
  readonly seed: number;
  readonly each: number;
}): readonly Document[] {
  const random = new Random(seed);
  const documents: Document[] = [];
  for (const [kind, make] of Object.entries(SECRETS)) {
    for (let count = 0; count < each; count++) {
      const { label, value } = make(random);
      const { text, at } = inProse(random, label + value);
      const start = at + label.length;
      documents.push({ text, secret: { kind, start, end: start + value.length }, about: kind });
    }
  }
  for (const [about, make] of Object.entries({ ...HARD_NEGATIVES, ...CUSTOM_NEGATIVES })) {
    for (let count = 0; count < Math.ceil(each / 4); count++) {
      documents.push({ text: inProse(random, make(random)).text, secret: null, about });
    }
  }
  return documents;
}
