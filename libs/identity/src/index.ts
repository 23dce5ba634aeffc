export type {
  Authority,
  AuthorityOptions,
  Credentials,
  FlawedOptions,
  IssueOptions,
} from './authority.ts';
export { createAuthority } from './authority.ts';
export type { Identity, IdentityFault, IdentityMaterial, IdentityProblem } from './identity.ts';
export { makeIdentity } from './identity.ts';
export type { IdentitySource } from './identity-source.ts';
export type { SpiffeId, SpiffeIdResult } from './spiffe-id.ts';
export { parseSpiffeId, trustDomainProblem } from './spiffe-id.ts';
export { clientTlsOptions, serverTlsOptions } from './tls-options.ts';
export type { TrustAnchor, TrustBundle, TrustBundles } from './trust-bundle.ts';
export { parseTrustBundle } from './trust-bundle.ts';
export type {
  PeerExpectation,
  PeerIdentity,
  PeerRefusal,
  PeerRefusalReason,
  PeerResult,
} from './verify-peer.ts';
export { isStillTrusted, staleness, verifyPeer } from './verify-peer.ts';
export type { IdentityOptions } from './watch-identity.ts';
export { watchIdentity } from './watch-identity.ts';
export type { WorkloadApiOptions } from './watch-workload-api.ts';
export { watchWorkloadApi } from './watch-workload-api.ts';
