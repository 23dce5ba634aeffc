import type { Registry } from 'prom-client';
import type { EndpointSourceView } from '../endpoints/index.ts';
import type { UpstreamView } from '../upstream/index.ts';
import { counter, gauge } from './metric-families.ts';

/** How many endpoints upstreams have, and whether those who name them answer. */
export function registerEndpoints(
  registry: Registry,
  sources: {
    readonly upstreams: () => readonly UpstreamView[];
    readonly endpointSources: () => readonly EndpointSourceView[];
  },
): void {
  gauge(
    registry,
    {
      name: 'gatehouse_endpoints',
      help: 'Endpoints: present ones, and ones that have left and still have calls.',
      labelNames: ['upstream', 'state'],
    },
    (metric) => {
      for (const { name, endpoints, endpointsLeaving } of sources.upstreams()) {
        metric.set({ upstream: name, state: 'present' }, endpoints.length);
        metric.set({ upstream: name, state: 'leaving' }, endpointsLeaving);
      }
    },
  );
  gauge(
    registry,
    {
      name: 'gatehouse_endpoint_source_failing',
      help: '1 while DNS or Kubernetes does not say where the upstream is, and the last good endpoints are used.',
      labelNames: ['upstream', 'source'],
    },
    (metric) => {
      for (const { upstream, source, problem } of sources.endpointSources())
        metric.set({ upstream, source }, problem === '' ? 0 : 1);
    },
  );
  counter(
    registry,
    {
      name: 'gatehouse_endpoint_source_failures_total',
      help: 'Times that DNS or Kubernetes had no answer.',
      labelNames: ['upstream', 'source'],
    },
    (metric) => {
      for (const { upstream, source, failures } of sources.endpointSources())
        metric.inc({ upstream, source }, failures);
    },
  );
}
