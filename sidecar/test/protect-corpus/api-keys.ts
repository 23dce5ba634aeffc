import { ALPHABET, type Random } from './random.ts';

const { alphanumeric, hex, base64Url, upperAlphanumeric, base64 } = ALPHABET;

/** What vendors hand out, as their documentation and the secret scanning of code hosts describe it. */
const VENDOR_KEYS: readonly ((random: Random) => string)[] = [
  (random) => `${random.pick(['AKIA', 'ASIA'])}${random.string(16, upperAlphanumeric)}`, // AWS access key id
  (random) => `AIza${random.string(35, base64Url)}`, // Google
  (random) => `ya29.a0${random.string(120, base64Url)}`, // Google OAuth
  (random) => `${random.pick(['ghp', 'gho', 'ghu', 'ghs', 'ghr'])}_${random.string(36, alphanumeric)}`, // GitHub
  (random) => `github_pat_${random.string(22, alphanumeric)}_${random.string(59, alphanumeric)}`,
  (random) => `glpat-${random.string(20, base64Url)}`, // GitLab
  (random) => `npm_${random.string(36, alphanumeric)}`,
  (random) => `pypi-AgEIcHlwaS5vcmc${random.string(130, base64Url)}`,
  (random) => `dckr_pat_${random.string(27, base64Url)}`,
  (random) => `sk-${random.string(20, alphanumeric)}T3BlbkFJ${random.string(20, alphanumeric)}`, // OpenAI, older
  (random) => `sk-proj-${random.string(74, base64Url)}T3BlbkFJ${random.string(74, base64Url)}`,
  (random) => `sk-ant-api03-${random.string(93, base64Url)}AA`, // Anthropic
  (random) => `hf_${random.string(34, alphanumeric)}`, // Hugging Face
  (random) => `gsk_${random.string(52, alphanumeric)}`, // Groq
  (random) =>
    `${random.pick(['sk', 'rk'])}_${random.pick(['live', 'test'])}_${random.string(random.pick([24, 99]), alphanumeric)}`, // Stripe
  (random) =>
    `xox${random.pick(['b', 'p'])}-${random.string(12)}-${random.string(12)}-${random.string(24, alphanumeric)}`, // Slack
  (random) => `SG.${random.string(22, base64Url)}.${random.string(43, base64Url)}`, // SendGrid
  (random) => `SK${random.string(32, hex)}`, // Twilio
  (random) => `shpat_${random.string(32, hex)}`, // Shopify
  (random) => `dop_v1_${random.string(64, hex)}`, // DigitalOcean
  (random) => `dapi${random.string(32, hex)}`, // Databricks
  (random) => `hvs.${random.string(92, base64Url)}`, // HashiCorp Vault
  (random) => webToken(random),
];

const LABELS = [
  'api_key = "',
  'API_KEY=',
  'apiKey: ',
  'Authorization: Bearer ',
  '"token": "',
  'client_secret=',
  'password: ',
  'aws_secret_access_key = ',
  'the secret is ',
  "access-key: '",
];

/** One without a vendor's prefix stands behind a label. */
export function apiKey(random: Random): { readonly label: string; readonly value: string } {
  if (random.chance(0.7)) {
    return { label: random.chance(0.3) ? random.pick(LABELS) : '', value: random.pick(VENDOR_KEYS)(random) };
  }
  const alphabet = random.pick([alphanumeric, alphanumeric, hex, base64, base64Url]);
  return { label: random.pick(LABELS), value: startingWithLetter(random, random.integer(24, 64), alphabet) };
}

/** A separator at either end would be taken for what stands around the key. */
function startingWithLetter(random: Random, length: number, alphabet: string): string {
  return (
    random.string(1, alphanumeric) + random.string(length - 2, alphabet) + random.string(1, alphanumeric)
  );
}

/** RFC 7519 over RFC 7515 §3.1. */
function webToken(random: Random): string {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const header = random.pick([
    { alg: 'HS256', typ: 'JWT' },
    { alg: 'RS256' },
    { alg: 'ES256', kid: random.string(24, hex) },
  ]);
  const claims = { sub: random.string(10), name: 'Jane Doe', iat: 1_700_000_000 + random.integer(0, 9999) };
  return `${encode(header)}.${encode(claims)}.${random.string(43, base64Url)}`;
}
