import type { CompiledLimit } from '../policy/index.ts';
import type { QuotaShortage } from './shortage.ts';

/** A call that asks for room. */
export type QuotaSubject = {
  /** The caller's SPIFFE ID. */
  readonly identity: string;
  /** Null: the request names none. */
  readonly model: string | null;
  /** Of a verified end-user token; null: there is none. */
  readonly claims: Readonly<Record<string, unknown>> | null;
  /** The limits that concern the caller and the method. */
  readonly limits: readonly CompiledLimit[];
  /** What the call may use of tokens; null: its method is not counted in tokens. */
  readonly tokens: TokenDemand | null;
  /** The call can no longer be counted: its lease in the shared store has run out. Called at most once. */
  readonly onLost: (shortage: QuotaShortage) => void;
};

type TokenDemand = {
  /** The input has at most as many tokens. */
  readonly inputBound: number;
  /** The output has at most as many, 0 where the method gives none; null: the request does not say. */
  readonly outputLimit: number | null;
  /** Whether responses tell how many tokens are used. If not, all that is reserved counts as used once there is an answer. */
  readonly isMetered: boolean;
};

/** What a call has been given. */
export type QuotaLease = {
  /** Ids of the limits that counted the call. */
  readonly touched: readonly string[];
  /** Whether responses have to be read for the tokens they tell of. */
  readonly readsUsage: boolean;
  /**
   * Tokens that the call has used so far, in all, as the next message of the response tells. Undefined: it does not.
   * @returns why that message may not be delivered, nor anything after it
   */
  settle(inputTokens: number | undefined, outputTokens: number | undefined): QuotaShortage | null;
  /** Gives back all that was not used. Once, at the end. @param answered a message of the response was delivered */
  release(answered: boolean): void;
};

/** Of a call that no limit concerns. */
export const UNLIMITED: QuotaLease = Object.freeze({
  touched: [],
  readsUsage: false,
  settle: () => null,
  release: () => {},
});
