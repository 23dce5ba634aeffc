import type { ProtectionRefusal } from '../protect/index.ts';
import type { QuotaShortage } from '../quota/index.ts';
import type { Shed } from '../shed/index.ts';
import type { GrpcStatus } from './grpc-status.ts';

/** Why a call goes no further, with the facts that the caller needs to act on it. */
export type Refusal =
  | { readonly kind: 'not-grpc'; readonly httpStatus: 405 | 415; readonly detail: string }
  | { readonly kind: 'unknown-method' }
  | {
      readonly kind: 'contract-mismatch';
      /** Versions: of the caller's stub, and of the contract that is enforced here. */
      readonly stated: string;
      readonly served: string;
      readonly fit: 'newer' | 'other';
    }
  | { readonly kind: 'malformed'; readonly field: string; readonly expected: string }
  | { readonly kind: 'identity-stale'; readonly reason: 'EXPIRED' | 'UNTRUSTED_ISSUER' }
  | { readonly kind: 'token'; readonly reason: string; readonly sentence: string }
  | { readonly kind: 'keys-unavailable'; readonly issuer: string }
  | { readonly kind: 'denied'; readonly reason: string; readonly sentence: string }
  | {
      readonly kind: 'message-too-large';
      readonly side: 'request' | 'response';
      readonly bytes: number;
      readonly limitBytes: number;
    }
  | { readonly kind: 'metadata-too-large'; readonly side: 'request' | 'response' }
  | { readonly kind: 'first-message-late'; readonly limitMs: number }
  | {
      readonly kind: 'overloaded';
      readonly limit: string;
      readonly max: number;
      readonly retryDelayMs: number;
    }
  /** Calls that the caller has left go on at the app: they count as its open streams (CVE-2025-8671). */
  | { readonly kind: 'too-many-left'; readonly max: number }
  | { readonly kind: 'shed'; readonly shed: Shed }
  | QuotaShortage
  | ProtectionRefusal
  | { readonly kind: 'audit-unavailable' }
  | { readonly kind: 'unknown-upstream' }
  | { readonly kind: 'circuit-open'; readonly retryDelayMs: number }
  | { readonly kind: 'no-endpoints'; readonly retryDelayMs: number }
  | { readonly kind: 'upstream-unreachable'; readonly cause: string }
  | { readonly kind: 'upstream-reset'; readonly status: GrpcStatus; readonly cause: string }
  | { readonly kind: 'upstream-malformed'; readonly cause: string }
  | { readonly kind: 'deadline' }
  | { readonly kind: 'draining' }
  | { readonly kind: 'bug' };
