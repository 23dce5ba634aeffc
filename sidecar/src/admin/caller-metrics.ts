import type { Registry } from 'prom-client';
import type { BoundedCounters } from '../path/bounded-counters.ts';
import type { CallMetrics } from '../path/call-metrics.ts';
import { counter } from './metric-families.ts';

const OUTCOMES = ['answered', 'refused', 'failed'] as const;

/** Calls by who makes them and by the model they ask for. The names are bounded; calls under others are `_OTHER`. */
export function registerCallers(registry: Registry, calls: readonly CallMetrics[]): void {
  const inbound = calls.filter(({ direction }) => direction === 'inbound');
  const register = (
    name: string,
    help: string,
    label: string,
    of: (metrics: CallMetrics) => BoundedCounters,
  ) =>
    counter(registry, { name, help, labelNames: [label, 'outcome'] }, (metric) => {
      for (const metrics of inbound) {
        for (const [value, counts] of of(metrics)) {
          for (const outcome of OUTCOMES) metric.inc({ [label]: value, outcome }, counts[outcome]);
        }
      }
    });
  const what = 'answered, refused by the mesh, or failed';
  register(
    'gatehouse_caller_calls_total',
    `Calls by workload identity: ${what}.`,
    'identity',
    (each) => each.callers,
  );
  register('gatehouse_model_calls_total', `Allowed calls by model: ${what}.`, 'model', (each) => each.models);
}
