import type { JwtIssuer } from '@gatehouse/contracts/policy';
import type { JWTPayload, JWTVerifyOptions } from 'jose';
import type { FoundKeys, KeySet } from './key-set.ts';
import { refuse, type TokenRefusal, type TokenRefusalReason } from './token-refusal.ts';

/** An issuer of the policy document with its keys. */
export interface Issuer {
  readonly facts: JwtIssuer;
  readonly keys: KeySet;
}

/** A token's claims, with the issuer and the keys that vouch for them. */
export interface VerifiedJwt {
  readonly claims: Readonly<JWTPayload>;
  readonly issuer: Issuer;
  /** The key set's generation that the token was verified against. */
  readonly generation: number;
  /** From when on the token counts as expired, the issuer's tolerance included. */
  readonly expiresAtMs: number;
}

/** `typ` of access tokens (RFC 9068 §2.1) and of JWTs at large; other kinds of token must not pass for them (RFC 8725 §3.11). */
const TYPES: readonly unknown[] = [undefined, 'jwt', 'at+jwt', 'application/at+jwt'];

/**
 * Verifies a JWT (RFC 7519 §7.2): issuer, type, algorithm, key, signature, audience and times. Both `iss` and `exp` are
 * required.
 * @param issuers by their `iss` claim
 */
export async function verifyJwt(
  token: string,
  issuers: ReadonlyMap<string, Issuer>,
  nowMs: number,
): Promise<VerifiedJwt | { readonly refusal: TokenRefusal }> {
  const { decodeJwt, decodeProtectedHeader } = await import('jose');
  let header: ReturnType<typeof decodeProtectedHeader>;
  let iss: string | undefined;
  try {
    header = decodeProtectedHeader(token);
    ({ iss } = decodeJwt(token));
  } catch {
    return refuse('TOKEN_MALFORMED');
  }
  const issuer = iss === undefined ? undefined : issuers.get(iss);
  if (issuer === undefined) return refuse('TOKEN_ISSUER');
  const { name, algorithms } = issuer.facts;
  const { alg, typ } = header;
  if (!TYPES.includes(typeof typ === 'string' ? typ.toLowerCase() : typ)) return refuse('TOKEN_TYPE', name);
  if (typeof alg !== 'string' || !algorithms.includes(alg)) return refuse('TOKEN_ALGORITHM', name);
  const found = await issuer.keys.keysFor({ ...header, alg });
  if (found === 'unavailable') return refuse('TOKEN_KEYS_UNAVAILABLE', name);
  return verifyWith(found, token, issuer, nowMs);
}

async function verifyWith(
  { keys, generation }: FoundKeys,
  token: string,
  issuer: Issuer,
  nowMs: number,
): Promise<VerifiedJwt | { readonly refusal: TokenRefusal }> {
  const { jwtVerify } = await import('jose');
  const { facts } = issuer;
  const clockSkewSeconds = facts.clockSkewSeconds ?? 0;
  const options: JWTVerifyOptions = {
    issuer: facts.issuer,
    audience: facts.audiences,
    algorithms: facts.algorithms,
    clockTolerance: clockSkewSeconds,
    currentDate: new Date(nowMs),
    requiredClaims: ['exp'],
  };
  let reason: TokenRefusalReason = 'TOKEN_KEY';
  for (const key of keys) {
    try {
      const { payload } = await jwtVerify(token, key, options);
      const expiresAtMs = ((payload.exp ?? 0) + clockSkewSeconds) * 1000;
      return { claims: payload, issuer, generation, expiresAtMs };
    } catch (error) {
      reason = reasonOf(error);
      if (reason !== 'TOKEN_SIGNATURE') break;
    }
  }
  return refuse(reason, facts.name);
}

function reasonOf(error: unknown): TokenRefusalReason {
  const { code, claim } = error as { readonly code?: string; readonly claim?: string };
  switch (code) {
    case 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED':
      return 'TOKEN_SIGNATURE';
    case 'ERR_JWT_EXPIRED':
      return 'TOKEN_EXPIRED';
    case 'ERR_JWT_CLAIM_VALIDATION_FAILED':
      if (claim === 'aud') return 'TOKEN_AUDIENCE';
      return claim === 'nbf' ? 'TOKEN_NOT_YET_VALID' : 'TOKEN_MALFORMED';
    case 'ERR_JWS_INVALID':
    case 'ERR_JWT_INVALID':
    case 'ERR_JOSE_NOT_SUPPORTED':
      return 'TOKEN_MALFORMED';
    default:
      // A key that does not suit the algorithm, such as RSA below 2048 bits (RFC 7518 §3.3).
      return 'TOKEN_KEY';
  }
}
