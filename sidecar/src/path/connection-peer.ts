import type { PeerIdentity } from '@gatehouse/identity';
import { type Field, field } from '../http2/index.ts';
import type { Decision, IdentityRules, Policy } from '../policy/index.ts';
import { type CallerHash, callerHash } from '../upstream/index.ts';
import type { DecisionFacts } from './4-authorise.ts';

/** Who is at the other end of a connection, and what was worked out about them once. */
export class ConnectionPeer {
  readonly spiffeId: string;
  readonly callerHash: CallerHash;
  /** Empty for the local app. */
  readonly trustDomain: string;
  readonly notAfterMs: number;
  /** `x5t#S256` of the certificate; empty for the local app, which shows none. */
  readonly thumbprint: string;
  /** The key id of the CA that vouches for it; empty for the local app. */
  readonly issuerKeyId: string;
  /** Tells the app who calls; null towards the network. */
  readonly forwardedClientCert: Field | null;
  /** Set when the identity no longer holds, while the connection is being drained. */
  staleness: 'EXPIRED' | 'UNTRUSTED_ISSUER' | null = null;
  /** The newest decision that allowed it a call, made by one rule of one policy, and the facts of it. */
  allowedLast: { readonly decision: Decision; readonly facts: DecisionFacts } | null = null;
  /** Response bytes that wait for this peer to read. */
  backlogBytes = 0;
  #policy: Policy | null = null;
  #rules: IdentityRules | null = null;

  private constructor(peer: PeerIdentity | null, own: string) {
    this.spiffeId = peer?.spiffeId ?? own;
    this.callerHash = callerHash(this.spiffeId);
    this.trustDomain = peer?.trustDomain ?? '';
    this.notAfterMs = peer?.notAfterMs ?? Number.POSITIVE_INFINITY;
    this.thumbprint = peer?.thumbprint ?? '';
    this.issuerKeyId = peer?.issuerKeyId ?? '';
    this.forwardedClientCert =
      peer &&
      field(
        'x-forwarded-client-cert',
        `By=${own};Hash=${hexThumbprint(peer.thumbprint)};URI=${peer.spiffeId}`,
      );
  }

  /** The workload at the other end of an mTLS connection. @param own our own SPIFFE ID */
  static workload(peer: PeerIdentity, own: string): ConnectionPeer {
    return new ConnectionPeer(peer, own);
  }

  /** The app beside us, which calls with our identity. */
  static localApp(own: string): ConnectionPeer {
    return new ConnectionPeer(null, own);
  }

  /** The rules of `policy` that concern this identity; looked up again only after the policy has changed. */
  rulesUnder(policy: Policy): IdentityRules {
    if (this.#rules === null || this.#policy !== policy) {
      this.#policy = policy;
      this.#rules = policy.forIdentity(this.spiffeId);
    }
    return this.#rules;
  }
}

function hexThumbprint(base64url: string): string {
  return Buffer.from(base64url, 'base64url').toString('hex');
}
