import type { Contract } from '@gatehouse/contracts';
import { type Limit, LimitStore, StoreFailure, WhenShort } from '@gatehouse/contracts/policy';
import { CompiledMatch } from './call-match.ts';

/** What gives a caller an account of its own. */
type LimitKey =
  | { readonly kind: 'identity' }
  | { readonly kind: 'model' }
  | { readonly kind: 'claim'; readonly name: string };

/** One limit of the document, ready to be counted by. Null: that number is not limited. */
export interface CompiledLimit {
  readonly id: string;
  readonly match: CompiledMatch;
  readonly per: readonly LimitKey[];
  readonly requests: { readonly perSecond: number; readonly burst: number } | null;
  readonly concurrentCallsMax: number | null;
  readonly tokensPerMinuteMax: number | null;
  readonly tokensPerDayMax: number | null;
  /** Whether one of the two is set. */
  readonly countsTokens: boolean;
  /** A call whose bound is larger than what is left begins with that, or is refused. */
  readonly whenShort: 'refuse' | 'shrink';
  readonly store: 'memory' | 'shared';
  readonly onStoreFailure: 'refuse' | 'local';
}

const BURST_DEFAULT = 1;
const CLAIM = 'claim:';

export function compileLimit(limit: Limit, contract: Contract): CompiledLimit {
  const { tokensPerMinute, tokensPerDay } = limit;
  return {
    id: limit.id,
    match: new CompiledMatch(limit.match, contract),
    per: limit.per.map(toKey),
    requests: limit.requests
      ? { perSecond: limit.requests.perSecond, burst: limit.requests.burst ?? BURST_DEFAULT }
      : null,
    concurrentCallsMax: limit.concurrentCalls ?? null,
    tokensPerMinuteMax: tokensPerMinute === undefined ? null : Number(tokensPerMinute),
    tokensPerDayMax: tokensPerDay === undefined ? null : Number(tokensPerDay),
    countsTokens: tokensPerMinute !== undefined || tokensPerDay !== undefined,
    whenShort: limit.whenShort === WhenShort.WHEN_SHORT_SHRINK ? 'shrink' : 'refuse',
    store: limit.store === LimitStore.LIMIT_STORE_SHARED ? 'shared' : 'memory',
    onStoreFailure: limit.onStoreFailure === StoreFailure.STORE_FAILURE_LOCAL ? 'local' : 'refuse',
  };
}

/** Whether the model decides if the limit concerns a call, or which account it has. */
export function limitsModel(limit: CompiledLimit): boolean {
  return limit.match.models !== null || limit.per.some(({ kind }) => kind === 'model');
}

/** Whether the request has to be read, or a token verified, before the limit can be counted. */
export function limitNeeds(limit: CompiledLimit): { readonly request: boolean; readonly token: boolean } {
  return {
    request: limit.countsTokens || limitsModel(limit),
    token: limit.per.some(({ kind }) => kind === 'claim'),
  };
}

function toKey(part: string): LimitKey {
  if (part.startsWith(CLAIM)) return { kind: 'claim', name: part.slice(CLAIM.length) };
  return { kind: part === 'model' ? 'model' : 'identity' };
}
