import type { Registry } from 'prom-client';
import type { LoadShedder } from '../shed/index.ts';
import { counter, gauge } from './metric-families.ts';

/** How full the app is, by method, and which calls were turned away. */
export function registerShedding(registry: Registry, shedder: LoadShedder | null): void {
  gauge(
    registry,
    {
      name: 'gatehouse_app_calls_limit',
      help: 'Calls that may be at the app at once at present; limits.callsActiveMax while nothing speaks for less.',
      labelNames: ['rpc_method'],
    },
    (metric) => {
      for (const [path, lane] of lanesOf(shedder)) metric.set({ rpc_method: path.slice(1) }, lane.limit);
    },
  );
  gauge(
    registry,
    { name: 'gatehouse_app_calls_active', help: 'Calls at the app.', labelNames: ['rpc_method'] },
    (metric) => {
      for (const [path, lane] of lanesOf(shedder)) metric.set({ rpc_method: path.slice(1) }, lane.inFlight);
    },
  );
  gauge(
    registry,
    {
      name: 'gatehouse_app_unloaded_latency_seconds',
      help: 'Time to the first response message when little is going on, as far as it is known.',
      labelNames: ['rpc_method'],
    },
    (metric) => {
      for (const [path, { unloadedMs }] of lanesOf(shedder))
        if (unloadedMs !== null) metric.set({ rpc_method: path.slice(1) }, unloadedMs / 1000);
    },
  );
  counter(
    registry,
    {
      name: 'gatehouse_calls_shed_total',
      help: 'Calls turned away because the app was busy, by reason and priority.',
      labelNames: ['rpc_method', 'reason', 'priority'],
    },
    (metric) => {
      for (const [path, lane] of lanesOf(shedder))
        for (const { reason, priority, total } of lane.shedCounts())
          metric.inc({ rpc_method: path.slice(1), reason, priority }, total);
    },
  );
}

function lanesOf(shedder: LoadShedder | null): LoadShedder['lanes'] {
  return shedder?.lanes ?? new Map();
}
