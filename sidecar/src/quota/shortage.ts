/** What a limit counts. */
export type QuotaNumber = 'requests-per-second' | 'concurrent-calls' | 'tokens-per-minute' | 'tokens-per-day';

/** Why a call finds no room, or no more of it, with what the caller needs to act on it. */
export type QuotaShortage =
  | {
      readonly kind: 'quota-exceeded';
      readonly limitId: string;
      readonly number: QuotaNumber;
      readonly max: number;
      /** Whose account it is: `identity spiffe://…`, `claim:tenant acme, model m`, or `all callers`. */
      readonly subject: string;
      /** As many tokens the call may use; null: it is not short of tokens, or is in its middle. */
      readonly wantedTokens: number | null;
      /** When there may be room; null: that depends on others, or there never is for as many tokens. */
      readonly retryDelayMs: number | null;
      /** The call is in its middle: it has used up what there was. */
      readonly midway: boolean;
    }
  /** The shared store can't be asked, and the limit has no other way to be counted. */
  | { readonly kind: 'quota-store-down'; readonly limitId: string; readonly retryDelayMs: number }
  /** The claim that an account goes by is no text, number or boolean, or too long. */
  | { readonly kind: 'quota-claim'; readonly limitId: string; readonly claim: string }
  /** Every account that can be kept still counts something. */
  | { readonly kind: 'quota-accounts-full'; readonly max: number; readonly retryDelayMs: number };
