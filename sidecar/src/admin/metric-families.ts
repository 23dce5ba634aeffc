import { Counter, Gauge, type Registry } from 'prom-client';

type Named = { readonly name: string; readonly help: string; readonly labelNames: readonly string[] };

/** A counter that is filled anew at each collection, from counts that are kept elsewhere. */
export function counter(registry: Registry, named: Named, fill: (metric: Counter) => void): void {
  const metric: Counter = new Counter({
    ...named,
    registers: [registry],
    collect: () => {
      metric.reset();
      fill(metric);
    },
  });
}

/** A gauge that is filled anew at each collection. */
export function gauge(registry: Registry, named: Named, fill: (metric: Gauge) => void): void {
  const metric: Gauge = new Gauge({
    ...named,
    registers: [registry],
    collect: () => {
      metric.reset();
      fill(metric);
    },
  });
}
