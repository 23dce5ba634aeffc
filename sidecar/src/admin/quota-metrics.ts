import type { Registry } from 'prom-client';
import type { Quotas, QuotaView } from '../quota/index.ts';
import { counter, gauge } from './metric-families.ts';

/** How limits are used, by their ids: never by whose account it is, so that the series are as many as the policy's limits. */
export function registerQuotas(registry: Registry, quotas: Quotas | null): void {
  const views = (): Iterable<QuotaView> => quotas?.views() ?? [];
  const counted = (name: string, help: string, count: (view: QuotaView) => number): void =>
    counter(registry, { name, help, labelNames: ['limit'] }, (metric) => {
      for (const view of views()) metric.inc({ limit: view.limitId }, count(view));
    });
  counted('gatehouse_quota_admitted_total', 'Calls that a limit had room for.', ({ admitted }) => admitted);
  counted(
    'gatehouse_quota_shrunk_total',
    'Calls that began with fewer tokens than they may take.',
    ({ shrunk }) => shrunk,
  );
  counted(
    'gatehouse_quota_ended_midway_total',
    'Calls whose answer ended because the limit was used up.',
    ({ endedMidway }) => endedMidway,
  );
  counted(
    'gatehouse_quota_tokens_total',
    'Tokens used, of calls that have ended.',
    (view) => view.tokensUsed,
  );
  counted(
    'gatehouse_quota_counted_locally_total',
    'Calls of a shared limit that this sidecar counted by itself, because the store could not be asked.',
    ({ countedLocally }) => countedLocally,
  );
  counter(
    registry,
    {
      name: 'gatehouse_quota_refused_total',
      help: 'Calls refused, by limit and what was short: one of its numbers, store or claim.',
      labelNames: ['limit', 'short'],
    },
    (metric) => {
      for (const { limitId, refused } of views())
        for (const [short, total] of refused) metric.inc({ limit: limitId, short }, total);
    },
  );
  registerAccounts(registry, quotas, views);
}

function registerAccounts(registry: Registry, quotas: Quotas | null, views: () => Iterable<QuotaView>): void {
  gauge(
    registry,
    {
      name: 'gatehouse_quota_accounts',
      help: 'Accounts kept in this process, of at most limits.quotaAccountsMax in all.',
      labelNames: ['limit'],
    },
    (metric) => {
      for (const { limitId, accounts } of views()) metric.inc({ limit: limitId }, accounts);
    },
  );
  gauge(
    registry,
    {
      name: 'gatehouse_quota_use_ratio',
      help: 'The share that is taken of a limit by the account in this process that has taken most of it.',
      labelNames: ['limit'],
    },
    (metric) => {
      const largest = new Map<string, number>();
      for (const { limitId, useRatioMax } of views())
        largest.set(limitId, Math.max(useRatioMax, largest.get(limitId) ?? 0));
      for (const [limit, ratio] of largest) metric.set({ limit }, ratio);
    },
  );
  gauge(
    registry,
    {
      name: 'gatehouse_quota_store_up',
      help: '1 while the store of shared limits can be asked; absent where none is configured.',
      labelNames: [],
    },
    (metric) => {
      if (quotas?.hasStore) metric.set(quotas.storeProblem === null ? 1 : 0);
      else metric.remove();
    },
  );
}
