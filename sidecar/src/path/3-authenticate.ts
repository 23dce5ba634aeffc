import type { Policy } from '../policy/index.ts';
import type { TokenVerifier, VerifiedToken } from '../tokens/index.ts';
import type { Identified } from './2-identify.ts';
import type { Refusal } from './refusal.ts';

/** A call whose end-user token, where policy asks for one, has been verified. */
export type Authenticated = Identified & { readonly token: VerifiedToken | null };

const BEARER = /^bearer +([A-Za-z0-9._~+/=-]+)$/i;

/**
 * Verifies the end-user token where a rule for this caller and method asks for one. A call without a token goes on: it is
 * authorise that knows whether another rule allows it without. A token that is there and bad is refused at once.
 */
export function authenticate(
  call: Identified,
  policy: Policy | null,
  tokens: TokenVerifier,
): Authenticated | Refusal | Promise<Authenticated | Refusal> {
  const rules = policy === null ? null : call.peer.rulesUnder(policy);
  if (rules === null || !rules.needsToken(call.method) || call.authorization === null)
    return call as Authenticated;
  const verified = verify(call, call.authorization, tokens);
  if (rules.refusesBadToken(call.method)) return verified;
  // Policy in shadow alone asks for it: nothing comes of a bad one but that the call has none.
  return verified instanceof Promise ? verified.then(() => call as Authenticated) : (call as Authenticated);
}

function verify(
  call: Identified,
  authorization: string,
  tokens: TokenVerifier,
): Authenticated | Refusal | Promise<Authenticated | Refusal> {
  const match = BEARER.exec(authorization);
  if (match === null) {
    return {
      kind: 'token',
      reason: 'TOKEN_MALFORMED',
      sentence: 'The authorization header is not `Bearer` and a token.',
    };
  }
  const facts = { spiffeId: call.peer.spiffeId, thumbprint: call.peer.thumbprint };
  const verified = tokens.verify(match[1] as string, facts);
  return verified instanceof Promise
    ? verified.then((result) => settle(call, result))
    : settle(call, verified);
}

type Verification = Awaited<ReturnType<TokenVerifier['verify']>>;

function settle(call: Identified, result: Verification): Authenticated | Refusal {
  if ('refusal' in result) {
    const { reason, sentence, issuer } = result.refusal;
    return reason === 'TOKEN_KEYS_UNAVAILABLE'
      ? { kind: 'keys-unavailable', issuer: issuer ?? '' }
      : { kind: 'token', reason, sentence };
  }
  call.token = result.token;
  return call as Authenticated;
}
