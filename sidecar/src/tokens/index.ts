export type { TokenRefusal, TokenRefusalReason } from './token-refusal.ts';
export {
  createTokenVerifier,
  type TokenCaller,
  type TokenResult,
  type TokenVerifier,
  type VerifiedToken,
} from './token-verifier.ts';
