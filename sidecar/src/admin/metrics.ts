import type { SpanRecorder } from '@gatehouse/telemetry/span-recorder';
import { Counter, Gauge, type Metric, Registry } from 'prom-client';
import type { ListenerCounts } from '../listen/connections.ts';
import type { Direction } from '../path/call.ts';
import { type CallMetrics, DURATION_BUCKETS } from '../path/call-metrics.ts';
import type { UpstreamView } from '../upstream/index.ts';

/** What the metrics are read from when they are asked for. Nothing is computed on the request path. */
export type MetricSources = {
  readonly calls: readonly CallMetrics[];
  readonly listeners: readonly {
    readonly direction: Direction;
    readonly counts: ListenerCounts;
    readonly open: () => number;
  }[];
  readonly callsActive: (direction: Direction) => number;
  readonly upstreams: () => readonly UpstreamView[];
  readonly identityExpiresAtMs: () => number;
  readonly policy: () => {
    readonly version: string;
    readonly loadedAtMs: number;
    readonly refused: boolean;
  } | null;
  readonly spans: SpanRecorder;
  readonly heldBytes: () => number;
};

const BREAKER_STATES = ['closed', 'half-open', 'open'] as const;

/** A registry whose metrics are filled from the sources at each collection. */
export function createMetrics(sources: MetricSources): Registry {
  const registry = new Registry();
  registerCalls(registry, sources);
  registerConnections(registry, sources);
  registerCircuits(registry, sources);
  registerState(registry, sources);
  return registry;
}

function registerCalls(registry: Registry, { calls, callsActive }: MetricSources): void {
  for (const metrics of calls) {
    const side = metrics.direction === 'inbound' ? 'server' : 'client';
    registry.registerMetric(durationHistogram(`rpc_${side}_call_duration_seconds`, metrics));
  }
  counter(
    registry,
    'gatehouse_calls_started_total',
    'Calls that began, by method.',
    ['direction', 'rpc_method'],
    (metric) => {
      for (const metrics of calls) {
        for (const { method, started } of metrics.startedByMethod()) {
          metric.inc({ direction: metrics.direction, rpc_method: method }, started);
        }
      }
    },
  );
  counter(
    registry,
    'gatehouse_refusals_total',
    'Calls that the sidecar ended itself, by reason.',
    ['direction', 'reason'],
    (metric) => {
      for (const metrics of calls) {
        for (const [reason, total] of metrics.refusals)
          metric.inc({ direction: metrics.direction, reason }, total);
      }
    },
  );
  gauge(registry, 'gatehouse_calls_active', 'Calls in progress.', ['direction'], (metric) => {
    for (const { direction } of calls) metric.set({ direction }, callsActive(direction));
  });
}

function registerConnections(registry: Registry, { listeners }: MetricSources): void {
  gauge(registry, 'gatehouse_connections_open', 'Connections that are open.', ['direction'], (metric) => {
    for (const { direction, open } of listeners) metric.set({ direction }, open());
  });
  counter(registry, 'gatehouse_connections_accepted_total', 'Connections taken.', ['direction'], (metric) => {
    for (const { direction, counts } of listeners) metric.inc({ direction }, counts.accepted);
  });
  counter(
    registry,
    'gatehouse_peers_refused_total',
    'Peers refused or drained, by reason.',
    ['direction', 'reason'],
    (metric) => {
      for (const { direction, counts } of listeners) {
        for (const [reason, total] of counts.refusedPeers) metric.inc({ direction, reason }, total);
      }
    },
  );
  counter(
    registry,
    'gatehouse_http2_violations_total',
    'Illegal or excessive HTTP/2, by kind.',
    ['direction', 'kind'],
    (metric) => {
      for (const { direction, counts } of listeners) {
        for (const [kind, total] of counts.violations) metric.inc({ direction, kind }, total);
      }
    },
  );
}

function registerCircuits(registry: Registry, { upstreams }: MetricSources): void {
  const circuits = () =>
    upstreams().flatMap(({ name, endpoints }) =>
      endpoints.map((endpoint) => ({ upstream: name, ...endpoint })),
    );
  const labels = ['upstream', 'endpoint'] as const;
  gauge(
    registry,
    'gatehouse_circuit_state',
    '1 for the state that the endpoint’s breaker is in.',
    [...labels, 'state'],
    (metric) => {
      for (const { upstream, address, breaker } of circuits()) {
        for (const state of BREAKER_STATES)
          metric.set({ upstream, endpoint: address, state }, breaker.state === state ? 1 : 0);
      }
    },
  );
  counter(
    registry,
    'gatehouse_endpoint_failures_total',
    'Calls that counted against an endpoint.',
    [...labels],
    (metric) => {
      for (const { upstream, address, breaker } of circuits())
        metric.inc({ upstream, endpoint: address }, breaker.failuresTotal);
    },
  );
  gauge(
    registry,
    'gatehouse_endpoint_calls_active',
    'Calls in progress at an endpoint.',
    [...labels],
    (metric) => {
      for (const { upstream, address, callsActive } of circuits())
        metric.set({ upstream, endpoint: address }, callsActive);
    },
  );
}

function registerState(registry: Registry, sources: MetricSources): void {
  gauge(
    registry,
    'gatehouse_identity_expires_timestamp_seconds',
    'When our certificate expires.',
    [],
    (metric) => metric.set(sources.identityExpiresAtMs() / 1000),
  );
  gauge(
    registry,
    'gatehouse_policy_info',
    '1, with the version of the policy in force.',
    ['version'],
    (metric) => {
      const policy = sources.policy();
      if (policy) metric.set({ version: policy.version }, 1);
    },
  );
  gauge(
    registry,
    'gatehouse_policy_loaded_timestamp_seconds',
    'When the policy in force was loaded.',
    [],
    (metric) => metric.set((sources.policy()?.loadedAtMs ?? 0) / 1000),
  );
  gauge(
    registry,
    'gatehouse_policy_refused',
    '1 while the newest policy document is refused and an older one is in force.',
    [],
    (metric) => metric.set(sources.policy()?.refused ? 1 : 0),
  );
  gauge(registry, 'gatehouse_held_bytes', 'Request bytes held for policy or for another try.', [], (metric) =>
    metric.set(sources.heldBytes()),
  );
  counter(registry, 'gatehouse_spans_total', 'Spans, by what became of them.', ['result'], (metric) => {
    metric.inc({ result: 'exported' }, sources.spans.totals.exported);
    metric.inc({ result: 'dropped' }, sources.spans.totals.dropped);
  });
  gauge(registry, 'process_resident_memory_bytes', 'Resident memory.', [], (metric) =>
    metric.set(process.memoryUsage.rss()),
  );
}

function counter(
  registry: Registry,
  name: string,
  help: string,
  labelNames: string[],
  fill: (metric: Counter) => void,
): void {
  const metric: Counter = new Counter({
    name,
    help,
    labelNames,
    registers: [registry],
    collect: () => {
      metric.reset();
      fill(metric);
    },
  });
}

function gauge(
  registry: Registry,
  name: string,
  help: string,
  labelNames: string[],
  fill: (metric: Gauge) => void,
): void {
  const metric: Gauge = new Gauge({
    name,
    help,
    labelNames,
    registers: [registry],
    collect: () => {
      metric.reset();
      fill(metric);
    },
  });
}

/** A histogram in prom-client's output form over counts that are kept elsewhere; its own takes 1 µs an observation. */
function durationHistogram(name: string, metrics: CallMetrics): Metric {
  const help = 'Duration of calls, by method and status.';
  const get = () => {
    const values: { metricName: string; labels: Record<string, string | number>; value: number }[] = [];
    for (const { method, status, durations } of metrics.series()) {
      const labels = { rpc_method: method, rpc_status_code: status };
      let cumulative = 0;
      for (const [index, count] of durations.counts.entries()) {
        cumulative += count;
        values.push({
          metricName: `${name}_bucket`,
          labels: { ...labels, le: DURATION_BUCKETS[index] ?? '+Inf' },
          value: cumulative,
        });
      }
      values.push({ metricName: `${name}_sum`, labels, value: durations.sumSeconds });
      values.push({ metricName: `${name}_count`, labels, value: durations.total });
    }
    return Promise.resolve({ name, help, type: 'histogram', values, aggregator: 'sum' });
  };
  return { name, help, get, reset: () => {} } as unknown as Metric;
}
