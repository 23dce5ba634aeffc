import { createServer } from 'node:http';
import { listenOn } from '@gatehouse/sockets';
import { metrics } from '@opentelemetry/api';

export type MetricsOptions = {
  /** `service.name` of every metric. */
  readonly serviceName: string;
  /** Where Prometheus reads `/metrics`: `host:port` or `unix:/path`. Absent: metrics are off and nothing is loaded for them. */
  readonly listen?: string | undefined;
};

export type Metrics = {
  /** The real one where port 0 was asked for; null where metrics are off. */
  readonly address: string | null;
  shutdown(): Promise<void>;
};

const REQUEST_MS_MAX = 5_000;
const CONNECTIONS_MAX = 16;

/**
 * Starts the metrics of a service process: whatever is recorded through OpenTelemetry's API from now on can be read in
 * Prometheus' text format. It has to have returned before the modules that make instruments are loaded. The metrics
 * part of the SDK alone is loaded.
 * @throws ListenError when the address can't be had
 */
export async function startMetrics({ serviceName, listen }: MetricsOptions): Promise<Metrics> {
  if (listen === undefined) return { address: null, shutdown: async () => {} };
  const { MeterProvider } = await import('@opentelemetry/sdk-metrics');
  const { PrometheusExporter } = await import('@opentelemetry/exporter-prometheus');
  const { resourceFromAttributes } = await import('@opentelemetry/resources');
  const reader = new PrometheusExporter({ preventServerStart: true, withoutScopeInfo: true });
  const resource = resourceFromAttributes({ 'service.name': serviceName });
  const provider = new MeterProvider({ resource, readers: [reader] });
  metrics.setGlobalMeterProvider(provider);
  const server = createServer((request, response) => {
    if (request.method === 'GET' && request.url?.split('?', 1)[0] === '/metrics') {
      reader.getMetricsRequestHandler(request, response);
      return;
    }
    response.statusCode = 404;
    response.end('expected GET /metrics\n');
  });
  server.requestTimeout = REQUEST_MS_MAX;
  server.headersTimeout = REQUEST_MS_MAX;
  server.maxConnections = CONNECTIONS_MAX;
  return {
    address: await listenOn(server, listen),
    shutdown: async () => {
      server.close();
      server.closeAllConnections();
      await provider.shutdown();
    },
  };
}
