export {
  createTokenVerifier,
  type TokenResult,
  type TokenVerifier,
  type VerifiedToken,
} from './token-verifier.ts';
