import type { QuotaShortage } from '../quota/index.ts';
import { GrpcStatus } from './grpc-status.ts';
import type { RefusalStatus } from './refusal-status.ts';

/** What a shortage is on the wire. QuotaFailure names the account and the limit, RetryInfo when there may be room. */
export function quotaStatus(shortage: QuotaShortage): RefusalStatus {
  switch (shortage.kind) {
    case 'quota-exceeded':
      return exceededStatus(shortage);
    case 'quota-store-down':
      return {
        code: GrpcStatus.UNAVAILABLE,
        reason: 'QUOTA_STORE_UNAVAILABLE',
        message: `The limit ${shortage.limitId} is counted in a store that cannot be asked at the moment; try again later.`,
        details: { retryDelayMs: shortage.retryDelayMs },
      };
    case 'quota-claim':
      return {
        code: GrpcStatus.PERMISSION_DENIED,
        reason: 'QUOTA_CLAIM_UNUSABLE',
        message: `The limit ${shortage.limitId} is counted by the token's claim ${clip(shortage.claim)}, which has to be a short text, a number or a boolean, and is not.`,
        details: {},
      };
    case 'quota-accounts-full':
      return {
        code: GrpcStatus.RESOURCE_EXHAUSTED,
        reason: 'QUOTA_ACCOUNTS_FULL',
        message: `The ${shortage.max} accounts that the sidecar can keep are all in use, and this call has none yet; try again later.`,
        details: {
          quotaFailure: [{ subject: 'quotaAccountsMax', description: `at most ${shortage.max}` }],
          retryDelayMs: shortage.retryDelayMs,
        },
      };
  }
}

function exceededStatus(shortage: Extract<QuotaShortage, { kind: 'quota-exceeded' }>): RefusalStatus {
  const { limitId, number, max, subject, retryDelayMs, wantedTokens, midway } = shortage;
  const what = `${max} ${number.replaceAll('-', ' ')}`;
  const description = `limit ${limitId}: ${what}`;
  return {
    code: GrpcStatus.RESOURCE_EXHAUSTED,
    reason: midway ? 'QUOTA_USED_UP' : 'QUOTA_EXCEEDED',
    message: `${midway ? 'The answer ends here: ' : ''}${subject} has used up the limit ${limitId} of ${what}${needed(wantedTokens)}; ${advice(shortage)}.`,
    details: {
      quotaFailure: [{ subject, description }],
      ...(retryDelayMs === null ? {} : { retryDelayMs }),
    },
  };
}

function needed(wantedTokens: number | null): string {
  return wantedTokens === null || wantedTokens === 1
    ? ''
    : `, or has fewer left than the ${wantedTokens} that this call may take`;
}

function advice({
  retryDelayMs,
  wantedTokens,
  max,
}: Extract<QuotaShortage, { kind: 'quota-exceeded' }>): string {
  if (wantedTokens !== null && wantedTokens > max) return 'ask for less: there is never room for as many';
  if (retryDelayMs === null) return 'try again when other calls have ended';
  return retryDelayMs < 1000
    ? `try again in ${Math.ceil(retryDelayMs)} ms`
    : `try again in ${Math.ceil(retryDelayMs / 1000)} s`;
}

function clip(text: string): string {
  return text.length > 128 ? `${text.slice(0, 128)}…` : text;
}
