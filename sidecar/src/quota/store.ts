import type { QuotaShortage } from './shortage.ts';

/** Room that a store has given to a call. Numbers of tokens are those of the whole call. */
export interface QuotaHold {
  /** What the call may use. */
  readonly reserved: number;
  /**
   * The call has used so many, with the message that is about to be delivered. Beyond what is reserved, more is taken
   * where there is more. @returns why the message may not be delivered
   */
  use(tokens: number): QuotaShortage | null;
  /** The call won't use more than that: the rest goes back. */
  reserveAtMost(tokens: number): void;
  /** The call has ended: what it has not used goes back. */
  release(): void;
}
