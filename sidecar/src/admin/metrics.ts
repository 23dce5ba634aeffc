import type { SpanRecorder } from '@gatehouse/telemetry/span-recorder';
import { Registry, type RegistryContentType } from 'prom-client';
import type { ContractState } from '../contract-state.ts';
import type { EndpointSourceView } from '../endpoints/index.ts';
import type { ListenerCounts } from '../listen/connections.ts';
import type { Clock, Direction } from '../path/call.ts';
import type { CallMetrics } from '../path/call-metrics.ts';
import type { HitCounts } from '../protect/index.ts';
import type { Quotas } from '../quota/index.ts';
import type { DecisionRecords } from '../record-decisions.ts';
import type { LoadShedder } from '../shed/index.ts';
import type { UpstreamView } from '../upstream/index.ts';
import { registerAudit } from './audit-metrics.ts';
import { registerCallers } from './caller-metrics.ts';
import { registerContract } from './contract-metrics.ts';
import { registerDurations } from './duration-metrics.ts';
import { registerEndpoints } from './endpoint-metrics.ts';
import { counter, gauge } from './metric-families.ts';
import { type PolicyView, registerPolicy } from './policy-metrics.ts';
import { registerProtection } from './protection-metrics.ts';
import { registerQuotas } from './quota-metrics.ts';
import { registerShedding } from './shed-metrics.ts';

/** What the metrics are read from when they are asked for. Nothing is computed on the request path. */
export type MetricSources = {
  readonly calls: readonly CallMetrics[];
  readonly listeners: readonly {
    readonly direction: Direction;
    readonly counts: ListenerCounts;
    readonly open: () => number;
  }[];
  readonly callsActive: (direction: Direction) => number;
  /** Null: no load is shed. */
  readonly shedder: LoadShedder | null;
  readonly upstreams: () => readonly UpstreamView[];
  readonly endpointSources: () => readonly EndpointSourceView[];
  readonly clock: Clock;
  /** Our certificate is good from when until when. */
  readonly identityTimes: () => { readonly notBeforeMs: number; readonly notAfterMs: number };
  /** The newest identity can't be had, or is refused. */
  readonly identityFails: () => boolean;
  readonly contract: () => ContractState;
  readonly policy: () => PolicyView | null;
  /** Null: decisions are not recorded. */
  readonly records: DecisionRecords | null;
  /** Null without inbound calls. */
  readonly quotas: Quotas | null;
  readonly protectionHits: HitCounts;
  readonly spans: SpanRecorder;
  readonly heldBytes: () => number;
};

const BREAKER_STATES = ['closed', 'half-open', 'open'] as const;

/** Prometheus' own text format, and OpenMetrics, which alone has exemplars. */
export const TEXT_FORMAT = Registry.PROMETHEUS_CONTENT_TYPE;
export const OPEN_METRICS = Registry.OPENMETRICS_CONTENT_TYPE;

/** A registry whose metrics are filled from the sources at each collection, and written out in this format. */
export function createMetrics(sources: MetricSources, format: RegistryContentType): Registry {
  const registry: Registry = new Registry();
  (registry as Registry<RegistryContentType>).setContentType(format);
  registerDurations(registry, sources.calls);
  registerCalls(registry, sources);
  registerCallers(registry, sources.calls);
  registerConnections(registry, sources);
  registerCircuits(registry, sources);
  registerEndpoints(registry, sources);
  registerShedding(registry, sources.shedder);
  registerAudit(registry, sources.records);
  registerQuotas(registry, sources.quotas);
  registerProtection(registry, sources.protectionHits);
  registerContract(registry, sources.contract);
  registerPolicy(registry, sources.policy, sources.calls);
  registerState(registry, sources);
  return registry;
}

function registerCalls(registry: Registry, { calls, callsActive }: MetricSources): void {
  counter(
    registry,
    {
      name: 'gatehouse_calls_started_total',
      help: 'Calls that began, by method.',
      labelNames: ['direction', 'rpc_method'],
    },
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
    {
      name: 'gatehouse_refusals_total',
      help: 'Calls that the sidecar ended itself, by reason.',
      labelNames: ['direction', 'reason'],
    },
    (metric) => {
      for (const metrics of calls) {
        for (const [reason, total] of metrics.refusals)
          metric.inc({ direction: metrics.direction, reason }, total);
      }
    },
  );
  counter(
    registry,
    {
      name: 'gatehouse_rule_refusals_total',
      help: 'Calls that policy refused, by rule (_NONE: none allowed it) and reason.',
      labelNames: ['rule', 'reason'],
    },
    (metric) => {
      for (const { rules } of calls)
        for (const [rule, byReason] of rules)
          for (const [reason, total] of byReason) metric.inc({ rule, reason }, total);
    },
  );
  gauge(
    registry,
    { name: 'gatehouse_calls_active', help: 'Calls in progress.', labelNames: ['direction'] },
    (metric) => {
      for (const { direction } of calls) metric.set({ direction }, callsActive(direction));
    },
  );
}

function registerConnections(registry: Registry, { listeners }: MetricSources): void {
  gauge(
    registry,
    { name: 'gatehouse_connections_open', help: 'Connections that are open.', labelNames: ['direction'] },
    (metric) => {
      for (const { direction, open } of listeners) metric.set({ direction }, open());
    },
  );
  counter(
    registry,
    { name: 'gatehouse_connections_accepted_total', help: 'Connections taken.', labelNames: ['direction'] },
    (metric) => {
      for (const { direction, counts } of listeners) metric.inc({ direction }, counts.accepted);
    },
  );
  counter(
    registry,
    {
      name: 'gatehouse_peers_refused_total',
      help: 'Peers refused or drained, by reason.',
      labelNames: ['direction', 'reason'],
    },
    (metric) => {
      for (const { direction, counts } of listeners) {
        for (const [reason, total] of counts.refusedPeers) metric.inc({ direction, reason }, total);
      }
    },
  );
  counter(
    registry,
    {
      name: 'gatehouse_http2_violations_total',
      help: 'Illegal or excessive HTTP/2, by kind.',
      labelNames: ['direction', 'kind'],
    },
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
    {
      name: 'gatehouse_circuit_state',
      help: '1 for the state that the endpoint’s breaker is in.',
      labelNames: [...labels, 'state'],
    },
    (metric) => {
      for (const { upstream, address, breaker } of circuits()) {
        for (const state of BREAKER_STATES)
          metric.set({ upstream, endpoint: address, state }, breaker.state === state ? 1 : 0);
      }
    },
  );
  counter(
    registry,
    {
      name: 'gatehouse_endpoint_failures_total',
      help: 'Calls that counted against an endpoint.',
      labelNames: [...labels],
    },
    (metric) => {
      for (const { upstream, address, breaker } of circuits())
        metric.inc({ upstream, endpoint: address }, breaker.failuresTotal);
    },
  );
  gauge(
    registry,
    {
      name: 'gatehouse_endpoint_calls_active',
      help: 'Calls in progress at an endpoint.',
      labelNames: [...labels],
    },
    (metric) => {
      for (const { upstream, address, callsActive } of circuits())
        metric.set({ upstream, endpoint: address }, callsActive);
    },
  );
}

function registerState(registry: Registry, sources: MetricSources): void {
  gauge(
    registry,
    {
      name: 'gatehouse_identity_expires_timestamp_seconds',
      help: 'When our certificate expires.',
      labelNames: [],
    },
    (metric) => metric.set(sources.identityTimes().notAfterMs / 1000),
  );
  gauge(
    registry,
    {
      name: 'gatehouse_identity_valid_from_timestamp_seconds',
      help: 'Since when our certificate is good.',
      labelNames: [],
    },
    (metric) => metric.set(sources.identityTimes().notBeforeMs / 1000),
  );
  gauge(
    registry,
    {
      name: 'gatehouse_identity_minutes_left',
      help: 'Minutes until our certificate expires; below nought it has.',
      labelNames: [],
    },
    (metric) => metric.set((sources.identityTimes().notAfterMs - sources.clock()) / 60_000),
  );
  gauge(
    registry,
    {
      name: 'gatehouse_identity_failing',
      help: '1 while files or agent give no good identity and an older one is in use.',
      labelNames: [],
    },
    (metric) => metric.set(sources.identityFails() ? 1 : 0),
  );
  gauge(
    registry,
    {
      name: 'gatehouse_held_bytes',
      help: 'Request bytes held for policy or for another try.',
      labelNames: [],
    },
    (metric) => metric.set(sources.heldBytes()),
  );
  counter(
    registry,
    { name: 'gatehouse_spans_total', help: 'Spans, by what became of them.', labelNames: ['result'] },
    (metric) => {
      metric.inc({ result: 'exported' }, sources.spans.totals.exported);
      metric.inc({ result: 'dropped' }, sources.spans.totals.dropped);
    },
  );
  gauge(
    registry,
    { name: 'process_resident_memory_bytes', help: 'Resident memory.', labelNames: [] },
    (metric) => metric.set(process.memoryUsage.rss()),
  );
}
