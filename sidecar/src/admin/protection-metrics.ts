import type { Registry } from 'prom-client';
import type { HitCounts } from '../protect/index.ts';
import { counter } from './metric-families.ts';

/** What protections have found. Detectors are named by the policy, so their number is bounded. */
export function registerProtection(registry: Registry, hits: HitCounts): void {
  counter(
    registry,
    {
      name: 'gatehouse_protection_hits_total',
      help: 'How often a detector has found something in what calls carry, by the side that sent it.',
      labelNames: ['side', 'detector'],
    },
    (metric) => {
      for (const side of ['request', 'response'] as const)
        for (const { detector, count } of hits.of(side)) metric.inc({ side, detector }, count);
    },
  );
}
