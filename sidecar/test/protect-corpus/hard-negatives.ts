import { checkDigits, fours, IBAN_COUNTRIES } from './account-numbers.ts';
import { cardDigits, luhnDigit } from './card-numbers.ts';
import { ALPHABET, type Random } from './random.ts';

const { hex, base64, digits, lowerAlphanumeric, upperAlphanumeric, alphanumeric } = ALPHABET;

/** What looks like something sensitive and is not, by what it is. */
export const HARD_NEGATIVES: Readonly<Record<string, (random: Random) => string>> = {
  'order number': (random) =>
    random.pick([
      () => `ORD-${random.integer(2019, 2026)}-${random.string(6)}`,
      () => `order ${failingLuhn(random, random.string(random.integer(10, 19)))}`,
      () => `#${random.string(random.integer(5, 10))}`,
      () => `PO ${random.string(4)}-${random.string(4)}-${random.string(3)}`,
      () => `invoice no. ${random.integer(2019, 2026)}/${random.string(5)}`,
    ])(),
  'card number that fails its check': (random) => {
    const failing = failingLuhn(random, cardDigits(random));
    return random.chance(0.5) ? failing : fours(failing).join(random.pick([' ', '-']));
  },
  'time in seconds': (random) => String(1_600_000_000 + random.integer(0, 300_000_000)),
  'time in milliseconds': (random) => `${1_600_000_000 + random.integer(0, 300_000_000)}${random.string(3)}`,
  'time in microseconds': (random) => `${1_600_000_000 + random.integer(0, 300_000_000)}${random.string(6)}`,
  'time in nanoseconds': (random) => `${1_600_000_000 + random.integer(0, 300_000_000)}${random.string(9)}`,
  'RFC 3339 time': (random) =>
    random.fill('202#-11-2# 1#:4#:3#.######Z').replace(' ', random.pick([' ', 'T'])),
  date: (random) =>
    random.pick([random.fill('202X-1#-0#'), random.fill('1#.0X.202#'), random.fill('0#/1#/202#')]),
  'MD5 hash': (random) => random.string(32, hex),
  'SHA-1 hash': (random) => `commit ${random.string(40, hex)}`,
  'SHA-256 hash': (random) => `sha256:${random.string(64, hex)}`,
  'SHA-512 hash': (random) => random.string(128, hex),
  'integrity of a package': (random) => `sha512-${random.string(86, base64)}==`,
  'short commit': (random) => `${random.string(7, hex)}..${random.string(7, hex)}`,
  UUID: (random) => [8, 4, 4, 4, 12].map((length) => random.string(length, hex)).join('-'),
  ULID: (random) => `01${random.string(24, '0123456789ABCDEFGHJKMNPQRSTVWXYZ')}`,
  'phone-like identifier': (random) =>
    random.pick([
      () => `ticket ${random.fill('555-#X##-##')}`,
      () => `ref ${random.fill('1##-0##-####')}`,
      () => `part ${random.string(2, ALPHABET.upper)}-${random.fill('XXX-XXX-####')}-${random.string(2)}`,
      () => random.fill('####-###-###'),
      () => `serial ${random.fill('XX#-XX#-####-##')}`,
      () => `${random.integer(1, 99)}+${random.integer(1000, 99_999_999)}`,
      () => `room +${random.integer(1, 4)} ${random.string(3)}`,
    ])(),
  version: (random) =>
    random.pick([
      () => random.fill('v#.#X.#'),
      () => random.fill('10.0.1####.3###'),
      () => random.fill('#.#.#-rc.#+build.2026####'),
      () => random.fill('#X.0.6###.#X'),
    ])(),
  'IP address': (random) =>
    random.pick([
      () => [1, 2, 3, 4].map(() => random.integer(1, 254)).join('.'),
      () => `2001:db8:${random.string(4, hex)}:${random.string(4, hex)}::${random.string(4, hex)}`,
      () => `${[1, 2, 3, 4].map(() => random.integer(1, 254)).join('.')}:${random.integer(1024, 65_535)}`,
    ])(),
  'MAC address': (random) =>
    [1, 2, 3, 4, 5, 6].map(() => random.string(2, hex)).join(random.pick([':', '-'])),
  'IBAN with wrong check digits': (random) => {
    const country = random.pick(IBAN_COUNTRIES);
    const account = random.string(random.integer(11, 24));
    const right = Number(checkDigits(country, account));
    const wrong = String((right + random.integer(1, 90)) % 100).padStart(2, '0');
    const whole = country + wrong + account;
    return random.chance(0.5) ? whole : fours(whole).join(' ');
  },
  'code like an IBAN': (random) =>
    random.pick([
      () => `${random.pick(IBAN_COUNTRIES)}${random.string(2)} ${random.string(4, upperAlphanumeric)}`,
      () => `${random.pick(['US', 'QQ', 'ZZ'])}${random.string(2)}${random.string(18)}`,
      () => `${random.pick(['US', 'DE', 'GB'])}${random.string(10)}`,
    ])(),
  'number like an SSN': (random) =>
    random.pick([
      () => random.fill('000-##-####'),
      () => random.fill('666-##-####'),
      () => random.fill('9##-XX-####'),
      () => random.fill('XX#-00-####'),
      () => random.fill('XX#-##-0000'),
      () => random.fill('XX#-##-#####'),
      () => random.fill('##-#######'),
      () => random.fill('#####-####'),
      () => random.fill('#-XX#-##-####'),
      () => random.fill('XX#-##-####-#'),
      () => random.fill('#########'),
    ])(),
  'what an @ stands in': (random) =>
    random.pick([
      () => `@${random.string(8, ALPHABET.lower)}`,
      () => `${random.string(4, ALPHABET.lower)}@localhost`,
      () => `@types/node@2${random.string(1)}.${random.string(1)}.1`,
      () => `logo@${random.integer(2, 3)}x.png`,
      () => `@Override public void run`,
      () => `root@${random.string(12, hex)}:/#`,
      () => `5 apples @ 1.20 each`,
      () => `react@18.2.0`,
    ])(),
  'book or product number': (random) =>
    random.pick([
      () => random.fill('978-3-16-######-#'),
      () => random.fill('ISBN 0-###-#####-#'),
      () => random.fill('40#########X#'),
      () => `US${random.string(9, upperAlphanumeric)}${random.string(1)}`,
    ])(),
  'device number': (random) => {
    const body = `35${random.string(12)}`;
    return `IMEI ${body}${luhnDigit(body)}`;
  },
  coordinates: (random) => random.fill('5#.######, 1#.######'),
  'amount of money': (random) =>
    random.pick([
      () => random.fill('$X,###,###.##'),
      () => random.fill('EUR X.###.###,##'),
      () => random.fill('X ### ### ###'),
    ])(),
  'decimal number': (random) => `0.${random.string(random.integer(8, 19))}`,
  'list of numbers': (random) =>
    Array.from({ length: random.integer(6, 30) }, () => random.integer(0, 999)).join(
      random.pick([', ', ' ', '\n', '\t']),
    ),
  'list of digits': (random) =>
    Array.from({ length: random.integer(25, 60) }, () => random.integer(0, 9)).join(random.pick([', ', ' '])),
  vector: (random) =>
    `[${Array.from({ length: 8 }, () => (random.next() * 2 - 1).toFixed(random.integer(4, 17))).join(', ')}]`,
  'account of a cloud': (random) => `arn:aws:iam::${failingLuhn(random, random.string(12))}:role/reader`,
  'name of a pod': (random) =>
    `api-${random.string(10, lowerAlphanumeric)}-${random.string(5, lowerAlphanumeric)}`,
  'picture in Base64': (random) => `data:image/png;base64,iVBORw0KGgo${random.string(120, base64)}=`,
  'public key': (random) =>
    `-----BEGIN PUBLIC KEY-----\n${random.string(64, base64)}\n${random.string(56, base64)}\n-----END PUBLIC KEY-----`,
  certificate: (random) =>
    `-----BEGIN CERTIFICATE-----\n${random.string(64, base64)}\n${random.string(64, base64)}\n-----END CERTIFICATE-----`,
  'SSH public key': (random) => `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA${random.string(44, base64)} me`,
  'mention of a private key': () =>
    'a file that begins with -----BEGIN PRIVATE KEY----- is one that you should never send to anybody',
  'place for a key': (random) =>
    random.pick([
      "api_key = os.environ['PAYMENTS_API_KEY']",
      'password: ****************************',
      'token: <paste-your-own-token-here-please>',
      'secret: my-k8s-secret-prod-eu-west-1',
      'Authorization: Bearer ${ACCESS_TOKEN}',
      'api_key: REPLACE_ME_WITH_YOUR_OWN_KEY',
      'secretName: gateway-certificates-production',
      'token = request.headers.get_authorization_token()',
      'the key is sk-this-is-only-an-example-of-a-key',
      'import sk_learn_contrib_metrics',
      'key = com.example.payments.settlement.timeout',
    ]),
  identifier: (random) => `id ${random.string(random.integer(20, 32), alphanumeric)}`,
  path: (random) => `/var/lib/app/${random.string(6)}/${random.string(16)}.json`,
  address: (random) =>
    `https://shop.example/p/${random.string(8)}?ref=${random.string(10, lowerAlphanumeric)}&t=${random.string(13)}`,
  'tracking number': (random) => `1Z${random.string(16, upperAlphanumeric)}`,
  'numbers of a table': (random) => Array.from({ length: 5 }, () => random.fill('#### ## ###.##')).join('\n'),
};

/** The digits with another last one, if they would pass the check of card numbers. */
function failingLuhn(random: Random, number: string): string {
  const body = number.slice(0, -1);
  const wrong = digits.replace(luhnDigit(body), '');
  return body + random.string(1, wrong);
}
