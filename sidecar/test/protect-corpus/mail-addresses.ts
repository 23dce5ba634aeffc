import { ALPHABET, type Random } from './random.ts';

const GIVEN = [
  'jane',
  'john',
  'maria',
  'li',
  'ahmed',
  'olga',
  'peter',
  'noor',
  'sven',
  'aiko',
  'Zoë',
  'jürgen',
  'chloé',
];
const FAMILY = [
  'doe',
  'smith',
  'garcia',
  'wang',
  "o'brien",
  'müller',
  'nowak',
  'khan',
  'silva',
  'jensen',
  'tanaka',
];
const COMPANIES = [
  'example',
  'acme-corp',
  'mail',
  'uni-hamburg',
  'b2b',
  'x',
  'post',
  'web',
  'northwind',
  'xn--bcher-kva',
  'bücher',
];
/** From the root zone of the DNS, as IANA lists it. */
const TOP_LEVEL = [
  'com',
  'org',
  'net',
  'de',
  'fr',
  'io',
  'ai',
  'co.uk',
  'com.au',
  'edu',
  'museum',
  'technology',
  'xn--p1ai',
  'br',
  'co.jp',
  'info',
  'dev',
];

/** RFC 5321 §4.1.2 and RFC 6531: dot-atoms, subaddresses (RFC 5233), bounce addresses, digits, names in other alphabets. */
export function mailAddress(random: Random): string {
  const domain = `${random.chance(0.25) ? `${random.string(random.integer(2, 8), ALPHABET.lower)}.` : ''}${random.pick(COMPANIES)}.${random.pick(TOP_LEVEL)}`;
  const address = `${local(random)}@${domain}`;
  return random.chance(0.1) ? address.toUpperCase() : address;
}

function local(random: Random): string {
  const given = random.pick(GIVEN);
  const family = random.pick(FAMILY);
  switch (random.integer(0, 9)) {
    case 0:
      return given;
    case 1:
      return `${given.charAt(0)}${family}${random.integer(1, 99)}`;
    case 2:
      return `${given}_${family}`;
    case 3:
      return `${given}+${random.string(5, ALPHABET.lowerAlphanumeric)}`;
    case 4:
      return `${given}-${family}`;
    case 5:
      return random.string(random.integer(1, 30), ALPHABET.lowerAlphanumeric);
    case 6:
      return `bounce+${given}=${random.pick(['example.com', 'post.de'])}`;
    case 7:
      return `${random.string(4)}.${given}`;
    default:
      return `${given}.${family}`;
  }
}
