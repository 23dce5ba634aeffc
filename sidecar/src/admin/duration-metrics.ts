import type { Metric, Registry } from 'prom-client';
import type { CallMetrics, NamedCalls } from '../path/call-metrics.ts';
import { DURATION_BUCKETS, type DurationHistogram } from '../path/duration-histogram.ts';

type Labels = Readonly<Record<string, string>>;
type Series = { readonly labels: Labels; readonly durations: DurationHistogram };
type Value = {
  readonly metricName: string;
  readonly labels: Record<string, string | number>;
  readonly value: number;
  readonly exemplar?: {
    readonly labelSet: Labels;
    readonly value: number;
    readonly timestamp: number;
  };
};

/** Of callers and models there may be many: these buckets of all are written out. */
const COARSE_BUCKETS: ReadonlySet<number> = new Set([0.005, 0.025, 0.1, 0.5, 2.5, 10, 60]);

export function registerDurations(registry: Registry, calls: readonly CallMetrics[]): void {
  const register = (
    name: string,
    help: string,
    series: () => Iterable<Series>,
    buckets?: ReadonlySet<number>,
  ) => registry.registerMetric(histogram({ name, help, series, buckets: buckets ?? null }));
  for (const metrics of calls) {
    const side = metrics.direction === 'inbound' ? 'server' : 'client';
    const help = 'Duration of calls, by method and status.';
    register(`rpc_${side}_call_duration_seconds`, help, () => byMethod(metrics));
    if (metrics.direction !== 'inbound') continue;
    register(
      'gatehouse_time_to_first_token_seconds',
      'Time to the first response message that tells of output tokens, of server-streaming calls, by method and model.',
      () => firstTokens(metrics),
    );
    register(
      'gatehouse_caller_call_duration_seconds',
      'Duration of calls, by workload identity.',
      () => byName('identity', metrics.callers),
      COARSE_BUCKETS,
    );
    register(
      'gatehouse_model_call_duration_seconds',
      'Duration of allowed calls, by model.',
      () => byName('model', metrics.models),
      COARSE_BUCKETS,
    );
  }
}

function* byMethod(metrics: CallMetrics): Iterable<Series> {
  for (const { method, status, durations } of metrics.series())
    yield { labels: { rpc_method: method, rpc_status_code: status }, durations };
}

function* firstTokens(metrics: CallMetrics): Iterable<Series> {
  for (const { method, model, times } of metrics.firstTokenSeries())
    yield { labels: { rpc_method: method, model }, durations: times };
}

function* byName(label: string, counters: Iterable<readonly [string, NamedCalls]>): Iterable<Series> {
  for (const [name, { durations }] of counters)
    if (durations.total > 0) yield { labels: { [label]: name }, durations };
}

/**
 * A histogram in prom-client's output form over counts that are kept elsewhere; its own takes 1 µs an observation.
 * @param buckets upper bounds to be written out; null: all
 */
function histogram({
  name,
  help,
  series,
  buckets,
}: {
  readonly name: string;
  readonly help: string;
  readonly series: () => Iterable<Series>;
  readonly buckets: ReadonlySet<number> | null;
}): Metric {
  const get = () => {
    const values: Value[] = [];
    for (const { labels, durations } of series()) {
      let cumulative = 0;
      for (const [index, count] of durations.counts.entries()) {
        cumulative += count;
        const bound = DURATION_BUCKETS[index];
        if (bound !== undefined && buckets?.has(bound) === false) continue;
        values.push({
          metricName: `${name}_bucket`,
          labels: { ...labels, le: bound ?? '+Inf' },
          value: cumulative,
          ...exemplarOf(durations, index),
        });
      }
      values.push({ metricName: `${name}_sum`, labels, value: durations.sumSeconds });
      values.push({ metricName: `${name}_count`, labels, value: durations.total });
    }
    return Promise.resolve({ name, help, type: 'histogram', values, aggregator: 'sum' });
  };
  return { name, help, get, reset: () => {} } as unknown as Metric;
}

/** What leads from a bucket to a trace; written out in OpenMetrics alone. */
function exemplarOf(durations: DurationHistogram, bucket: number): Pick<Value, 'exemplar'> {
  const kept = durations.exemplar(bucket);
  if (kept === undefined) return {};
  const { traceId, seconds, atMs } = kept;
  return { exemplar: { labelSet: { trace_id: traceId }, value: seconds, timestamp: atMs / 1000 } };
}
