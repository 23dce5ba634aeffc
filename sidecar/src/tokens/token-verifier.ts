import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type JwtIssuer, TokenBinding } from '@gatehouse/contracts/policy';
import { fetchKeySet } from './fetch-key-set.ts';
import { KeySet, type KeySetLimits } from './key-set.ts';
import { refuse, type TokenRefusal } from './token-refusal.ts';
import { type Issuer, type VerifiedJwt, verifyJwt } from './verify-jwt.ts';

/** A verified end-user token. */
export interface VerifiedToken {
  /** The issuer's name in the policy document. */
  readonly issuer: string;
  readonly claims: Readonly<Record<string, unknown>>;
}

export type TokenResult = { readonly token: VerifiedToken } | { readonly refusal: TokenRefusal };

/** Who brings the token, for tokens that are bound to a workload. */
interface TokenCaller {
  readonly spiffeId: string;
  /** `x5t#S256` of the certificate (RFC 8705 §3.1): SHA-256 of its DER, in base64url; empty: it shows none. */
  readonly thumbprint: string;
}

export interface TokenVerifier {
  /** At once for a token that has been verified before and has not expired. */
  verify(token: string, caller: TokenCaller): TokenResult | Promise<TokenResult>;
  /** Ends look-ups of keys that are under way. */
  close(): void;
}

export interface TokenVerifierOptions {
  /** The issuers of the policy in force. The same list as before means that nothing has changed. */
  readonly issuers: () => readonly JwtIssuer[];
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Reads the text of a `jwksFile`. Default: from the file system, relative to the working directory. */
  readonly readKeyFile?: (file: string) => Promise<string>;
  /** Certificates that the servers of `jwksUrl`s are verified with, in PEM. Default: Node's own. */
  readonly ca?: string;
  /** Told of every look-up of an issuer's keys that changed something or failed. */
  readonly onKeys?: (
    issuer: string,
    outcome: { readonly keys: number } | { readonly failed: string },
  ) => void;
  readonly limits?: Partial<TokenLimits>;
}

interface TokenLimits {
  /** Default 8192. */
  readonly tokenBytesMax: number;
  /** Verified tokens that are kept until they expire. Default 1024. */
  readonly tokensCachedMax: number;
}

const TOKEN_LIMITS: TokenLimits = { tokenBytesMax: 8192, tokensCachedMax: 1024 };
const KEY_SET_LIMITS = { ageMsMax: 3_600_000, bytesMax: 262_144, keysMax: 100 };
const FILE_LIMITS: KeySetLimits = { ...KEY_SET_LIMITS, refreshMs: 5_000, cooldownMs: 1_000 };
const URL_LIMITS: KeySetLimits = { ...KEY_SET_LIMITS, refreshMs: 600_000, cooldownMs: 10_000 };

/**
 * Verifies end-user tokens of the policy's issuers. Fails closed: without keys every token of the issuer is refused. A
 * token counts again as new when its issuer's entry in the policy or the issuer's keys have changed.
 */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  return new CachingVerifier(options);
}

class CachingVerifier implements TokenVerifier {
  readonly #options: TokenVerifierOptions;
  readonly #limits: TokenLimits;
  /** By the token's hash, the one used last at the end. */
  readonly #verified = new Map<string, VerifiedJwt>();
  /** By the token's hash; each is waited for by a call, so the limit on calls bounds them. */
  readonly #underWay = new Map<string, Promise<VerifiedJwt | { readonly refusal: TokenRefusal }>>();
  /** The one used last: it stands at the end already, and to put it there with every call would remake the map over and over. */
  #newestKey = '';
  #list: readonly JwtIssuer[] = [];
  #issuers: ReadonlyMap<string, Issuer> = new Map();

  constructor(options: TokenVerifierOptions) {
    this.#options = options;
    this.#limits = { ...TOKEN_LIMITS, ...options.limits };
    this.#followIssuers();
  }

  verify(token: string, caller: TokenCaller): TokenResult | Promise<TokenResult> {
    if (token.length > this.#limits.tokenBytesMax) return refuse('TOKEN_TOO_LARGE');
    this.#followIssuers();
    const key = hash('sha256', token, 'base64');
    const known = this.#known(key);
    return known === undefined ? this.#verifyNew(token, key, caller) : bind(known, caller);
  }

  close(): void {
    for (const issuer of this.#issuers.values()) issuer.keys.close();
  }

  #known(key: string): VerifiedJwt | undefined {
    const jwt = this.#verified.get(key);
    if (jwt === undefined) return undefined;
    const { issuer, generation, expiresAtMs } = jwt;
    const isGood =
      this.#options.clock() < expiresAtMs &&
      this.#issuers.get(issuer.facts.issuer) === issuer &&
      issuer.keys.isUsable() &&
      issuer.keys.generation === generation;
    if (!isGood) this.#verified.delete(key);
    else if (key !== this.#newestKey) this.#keep(key, jwt);
    return isGood ? jwt : undefined;
  }

  async #verifyNew(token: string, key: string, caller: TokenCaller): Promise<TokenResult> {
    let verifying = this.#underWay.get(key);
    if (verifying === undefined) {
      verifying = verifyJwt(token, this.#issuers, this.#options.clock()).finally(() =>
        this.#underWay.delete(key),
      );
      this.#underWay.set(key, verifying);
    }
    const jwt = await verifying;
    if ('refusal' in jwt) return jwt;
    this.#keep(key, jwt);
    return bind(jwt, caller);
  }

  #keep(key: string, jwt: VerifiedJwt): void {
    this.#verified.delete(key);
    this.#verified.set(key, jwt);
    this.#newestKey = key;
    if (this.#verified.size <= this.#limits.tokensCachedMax) return;
    const [oldest] = this.#verified.keys();
    if (oldest !== undefined) this.#verified.delete(oldest);
  }

  /** Takes the issuers of a new policy; keeps the keys of those that are as before. */
  #followIssuers(): void {
    const list = this.#options.issuers();
    if (list === this.#list) return;
    const before = this.#issuers;
    const next = new Map<string, Issuer>();
    for (const facts of list) {
      const same = before.get(facts.issuer);
      const isSame = same !== undefined && JSON.stringify(same.facts) === JSON.stringify(facts);
      const issuer = isSame ? same : { facts, keys: this.#keySetOf(facts) };
      issuer.keys.warmUp();
      next.set(facts.issuer, issuer);
    }
    this.#list = list;
    this.#issuers = next;
    for (const [iss, issuer] of before) if (next.get(iss) !== issuer) issuer.keys.close();
  }

  #keySetOf({ name, jwks }: JwtIssuer): KeySet {
    const { clock, ca, readKeyFile = (file) => readFile(file, 'utf8'), onKeys } = this.#options;
    const isUrl = jwks?.$case === 'jwksUrl';
    const limits = isUrl ? URL_LIMITS : FILE_LIMITS;
    const place = jwks?.value ?? '';
    return new KeySet({
      clock,
      limits,
      load: (signal) =>
        isUrl
          ? fetchKeySet(place, { signal, bytesMax: limits.bytesMax, ...(ca && { ca }) })
          : readKeyFile(place),
      onLookUp: (outcome) => onKeys?.(name, outcome),
    });
  }
}

/** Compares what the token is bound to with who brings it; the same token may come from different callers. */
function bind({ claims, issuer }: VerifiedJwt, caller: TokenCaller): TokenResult {
  const { name, binding } = issuer.facts;
  return isBoundTo(claims, binding, caller)
    ? { token: { issuer: name, claims } }
    : refuse('TOKEN_BINDING', name);
}

function isBoundTo(claims: VerifiedJwt['claims'], binding: TokenBinding, caller: TokenCaller): boolean {
  switch (binding) {
    case TokenBinding.TOKEN_BINDING_UNSPECIFIED:
      return true;
    case TokenBinding.TOKEN_BINDING_CERTIFICATE: {
      const confirmation = claims['cnf'] as { readonly 'x5t#S256'?: unknown } | null | undefined;
      return caller.thumbprint !== '' && confirmation?.['x5t#S256'] === caller.thumbprint;
    }
    case TokenBinding.TOKEN_BINDING_SPIFFE_CLAIM:
      return caller.spiffeId !== '' && claims['spiffe_id'] === caller.spiffeId;
    default:
      return false;
  }
}
