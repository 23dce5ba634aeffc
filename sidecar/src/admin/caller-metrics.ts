import type { Registry } from 'prom-client';
import type { BoundedCounters } from '../path/bounded-counters.ts';
import type { CallMetrics, NamedCalls } from '../path/call-metrics.ts';
import { counter } from './metric-families.ts';

const OUTCOMES = ['answered', 'refused', 'failed'] as const;

/**
 * Calls and tokens by who makes them and by the model they ask for. The names are bounded; calls under others are `_OTHER`.
 * A model that nothing had to read has no name: its tokens are counted, its calls are among those of the callers.
 */
export function registerCallers(registry: Registry, calls: readonly CallMetrics[]): void {
  const inbound = calls.filter(({ direction }) => direction === 'inbound');
  const register = (
    kind: 'caller' | 'model',
    label: string,
    of: (metrics: CallMetrics) => BoundedCounters<NamedCalls>,
  ) => {
    counter(
      registry,
      {
        name: `gatehouse_${kind}_calls_total`,
        help: `Calls by ${label}: answered, refused by the mesh, or failed.`,
        labelNames: [label, 'outcome'],
      },
      (metric) => {
        for (const metrics of inbound)
          for (const [name, counts] of of(metrics))
            if (name !== '')
              for (const outcome of OUTCOMES) metric.inc({ [label]: name, outcome }, counts[outcome]);
      },
    );
    counter(
      registry,
      {
        name: `gatehouse_${kind}_tokens_total`,
        help: `Tokens that responses tell of, by ${label}.`,
        labelNames: [label, 'kind'],
      },
      (metric) => {
        for (const metrics of inbound) {
          for (const [name, { inputTokens, outputTokens }] of of(metrics)) {
            if (inputTokens + outputTokens === 0) continue;
            metric.inc({ [label]: name, kind: 'input' }, inputTokens);
            metric.inc({ [label]: name, kind: 'output' }, outputTokens);
          }
        }
      },
    );
  };
  register('caller', 'identity', ({ callers }) => callers);
  register('model', 'model', ({ models }) => models);
}
