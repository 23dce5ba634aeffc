/** Keys that can be told by how they begin. */
export interface ApiKeyForm {
  readonly prefix: string;
  /** Characters after the prefix: a fixed length, or the least of one that has no upper bound. */
  readonly length: number;
  readonly isOpen: boolean;
  readonly alphabet: RegExp;
}

const ALPHANUMERIC = /[A-Za-z0-9]/;
const UPPER = /[A-Z0-9]/;
const HEX = /[0-9a-f]/;
const URL_SAFE = /[A-Za-z0-9_-]/;
const DOTTED = /[A-Za-z0-9_.-]/;
const BASE64 = /[A-Za-z0-9+/=_-]/;

const fixed = (prefix: string, length: number, alphabet = ALPHANUMERIC): ApiKeyForm => ({
  prefix,
  length,
  isOpen: false,
  alphabet,
});
const open = (prefix: string, length: number, alphabet = URL_SAFE): ApiKeyForm => ({
  prefix,
  length,
  isOpen: true,
  alphabet,
});

/** As their vendors document them. */
export const API_KEY_FORMS: readonly ApiKeyForm[] = [
  // Clouds
  ...['AKIA', 'ASIA', 'ABIA', 'ACCA'].map((prefix) => fixed(prefix, 16, UPPER)), // AWS
  fixed('AIza', 35, URL_SAFE), // Google API key
  open('ya29.', 30, DOTTED), // Google OAuth access token
  open('GOCSPX-', 28), // Google OAuth client secret
  ...['dop_v1_', 'doo_v1_', 'dor_v1_'].map((prefix) => fixed(prefix, 64, HEX)), // DigitalOcean
  open('hvs.', 24), // HashiCorp Vault
  open('hvb.', 24),
  open('dapi', 32, HEX), // Databricks
  open('LTAI', 16, ALPHANUMERIC), // Alibaba Cloud
  // Code and packages
  ...['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'].map((prefix) => open(prefix, 36, ALPHANUMERIC)), // GitHub
  open('github_pat_', 22, /[A-Za-z0-9_]/),
  ...['glpat-', 'gldt-', 'glrt-', 'glptt-', 'glcbt-'].map((prefix) => open(prefix, 20)), // GitLab
  open('npm_', 36, ALPHANUMERIC),
  open('pypi-AgE', 50),
  open('dckr_pat_', 27), // Docker Hub
  open('ATATT3', 40, BASE64), // Atlassian
  open('sntrys_', 40, BASE64), // Sentry
  open('glsa_', 32, /[A-Za-z0-9_]/), // Grafana
  // Models
  open('sk-proj-', 40), // OpenAI
  open('sk-svcacct-', 40),
  open('sk-admin-', 40),
  open('sk-ant-', 40), // Anthropic
  open('sk-or-v1-', 40), // OpenRouter
  open('sk-', 32, ALPHANUMERIC), // OpenAI, DeepSeek and others
  open('hf_', 30, ALPHANUMERIC), // Hugging Face
  open('r8_', 37, ALPHANUMERIC), // Replicate
  open('gsk_', 40, ALPHANUMERIC), // Groq
  open('xai-', 60, ALPHANUMERIC),
  open('pplx-', 40, ALPHANUMERIC), // Perplexity
  open('nvapi-', 40), // NVIDIA
  open('pcsk_', 40, /[A-Za-z0-9_]/), // Pinecone
  open('lsv2_', 40, /[A-Za-z0-9_]/), // LangSmith
  // Payments and shops
  ...['sk_live_', 'sk_test_', 'rk_live_', 'rk_test_', 'whsec_'].map((prefix) =>
    open(prefix, 24, ALPHANUMERIC),
  ), // Stripe
  open('sq0atp-', 22), // Square
  open('sq0csp-', 43),
  ...['shpat_', 'shpca_', 'shppa_', 'shpss_'].map((prefix) => fixed(prefix, 32, /[0-9a-fA-F]/)), // Shopify
  // Messages
  ...['xoxb-', 'xoxp-', 'xoxa-', 'xoxr-', 'xoxs-', 'xapp-'].map((prefix) => open(prefix, 24)), // Slack
  open('SG.', 60, DOTTED), // SendGrid
  fixed('SK', 32, HEX), // Twilio
  fixed('key-', 32, HEX), // Mailgun
  // Tools
  open('lin_api_', 40, ALPHANUMERIC), // Linear
  open('ntn_', 40, ALPHANUMERIC), // Notion
  open('PMAK-', 59), // Postman
  open('dp.pt.', 40, ALPHANUMERIC), // Doppler
  open('AGE-SECRET-KEY-1', 50, UPPER),
];
