import { context, ROOT_CONTEXT } from '@opentelemetry/api';
import type { SpanExporter } from './span-queue.ts';

/** How long one export may take, its retries included. */
const EXPORT_MS_MAX = 10_000;

/**
 * Loads the OTLP/gRPC exporter and opens it.
 *
 * @param endpoint `http://host:port` in plaintext, `https://host:port` over TLS
 */
export async function openOtlpExporter(endpoint: string): Promise<SpanExporter> {
  const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-grpc');
  const { suppressTracing } = await import('@opentelemetry/core');
  const exporter = new OTLPTraceExporter({ url: endpoint, timeoutMillis: EXPORT_MS_MAX });
  return {
    // An export is a gRPC call as well: traced, each export would bring forth the next.
    export: (spans, done) => context.with(suppressTracing(ROOT_CONTEXT), () => exporter.export(spans, done)),
    shutdown: () => exporter.shutdown(),
  };
}
