import type { Registry } from 'prom-client';
import type { CallMetrics } from '../path/call-metrics.ts';
import { counter, gauge } from './metric-families.ts';

/** The policy in force, the one in shadow, and what became of newer documents. */
export type PolicyView = {
  readonly version: string;
  readonly loadedAtMs: number;
  /** Null: the newest document is in force. */
  readonly refusedBecause: string | null;
  /** Null: no document is in shadow. */
  readonly shadowVersion: string | null;
  readonly shadowRefusedBecause: string | null;
};

export function registerPolicy(
  registry: Registry,
  policy: () => PolicyView | null,
  calls: readonly CallMetrics[],
): void {
  registerShadow(registry, policy, calls);
  gauge(
    registry,
    {
      name: 'gatehouse_policy_info',
      help: '1, with the version of the policy in force.',
      labelNames: ['version'],
    },
    (metric) => {
      const view = policy();
      if (view) metric.set({ version: view.version }, 1);
    },
  );
  gauge(
    registry,
    {
      name: 'gatehouse_policy_loaded_timestamp_seconds',
      help: 'When the policy in force was loaded.',
      labelNames: [],
    },
    (metric) => metric.set((policy()?.loadedAtMs ?? 0) / 1000),
  );
  gauge(
    registry,
    {
      name: 'gatehouse_policy_refused',
      help: '1 while the newest policy document is refused and an older one is in force.',
      labelNames: [],
    },
    (metric) => metric.set(policy()?.refusedBecause ? 1 : 0),
  );
  gauge(
    registry,
    {
      name: 'gatehouse_policy_refused_reason',
      help: '1 for why the newest document is refused: UNREADABLE, INVALID or SIGNATURE.',
      labelNames: ['document', 'reason'],
    },
    (metric) => {
      const view = policy();
      if (view?.refusedBecause) metric.set({ document: 'policy', reason: view.refusedBecause }, 1);
      if (view?.shadowRefusedBecause)
        metric.set({ document: 'shadow', reason: view.shadowRefusedBecause }, 1);
    },
  );
}

function registerShadow(
  registry: Registry,
  policy: () => PolicyView | null,
  calls: readonly CallMetrics[],
): void {
  gauge(
    registry,
    {
      name: 'gatehouse_policy_shadow_info',
      help: '1, with the version of the policy in shadow.',
      labelNames: ['version'],
    },
    (metric) => {
      const version = policy()?.shadowVersion;
      if (version) metric.set({ version }, 1);
    },
  );
  counter(
    registry,
    {
      name: 'gatehouse_policy_shadow_differences_total',
      help: 'Decisions that policy in shadow would have taken otherwise, by whose call of what.',
      labelNames: ['identity', 'rpc_method', 'would'],
    },
    (metric) => {
      for (const { shadow } of calls)
        for (const { identity, method, would, total } of shadow.series())
          metric.inc({ identity, rpc_method: method, would }, total);
    },
  );
}
