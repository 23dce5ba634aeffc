import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { type Attributes, type Context, isSpanContextValid, trace } from '@opentelemetry/api';
import { conformRpcSpan } from './conform-rpc-span.ts';
import { openOtlpExporter } from './otlp-exporter.ts';
import { createSpanQueue, type SpanQueueLimits } from './span-queue.ts';
import { isTraceSampled } from './trace-context.ts';

export type TelemetryOptions = SpanQueueLimits & {
  /** `service.name` of every span. */
  readonly serviceName: string;
  /** The collector, as `http://host:port` (OTLP over gRPC). Absent: tracing is off and nothing is loaded for it. */
  readonly otlpEndpoint?: string | undefined;
  /** Share of the traces that begin here to record, 0 to 1. A trace that the caller began is recorded as it says. */
  readonly sampleRatio: number;
  readonly resourceAttributes?: Attributes;
  /** Called when an export fails after one that did not. */
  readonly onExportFailure?: (error: Error) => void;
};

export type Telemetry = {
  /** Sends the spans that wait, then stops tracing. */
  shutdown(): Promise<void>;
};

/**
 * Starts tracing in a service process: grpc-js servers and clients make spans, and their context is carried in
 * `traceparent`. It patches grpc-js while that is being imported, so it must have returned before anything imports
 * `@grpc/grpc-js`: `main.ts` awaits it and imports the rest of the program afterwards, with `await import(…)`.
 */
export async function startTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  if (options.otlpEndpoint === undefined) return { shutdown: async () => {} };
  await hookImportsOfGrpc();
  const { NodeSDK } = await import('@opentelemetry/sdk-node');
  const { GrpcInstrumentation } = await import('@opentelemetry/instrumentation-grpc');
  const queue = createSpanQueue({ ...options, exporter: await openOtlpExporter(options.otlpEndpoint) });
  const sdk = new NodeSDK({
    serviceName: options.serviceName,
    resourceDetectors: [{ detect: () => ({ attributes: options.resourceAttributes ?? {} }) }],
    metricReaders: [],
    logRecordProcessors: [],
    instrumentations: [new GrpcInstrumentation()],
    sampler: parentBasedRatio(options.sampleRatio),
    spanProcessors: [
      {
        onStart: () => {},
        onEnd: (span) => queue.add(conformRpcSpan(span)),
        forceFlush: queue.flush,
        shutdown: queue.shutdown,
      },
    ],
  });
  sdk.start();
  return { shutdown: () => sdk.shutdown() };
}

/**
 * Lets instrumentation see `import … from '@grpc/grpc-js'`; without it grpc-js stays untraced and nothing says so. The
 * hook must be the very copy that `@opentelemetry/instrumentation` uses, hence resolved from there. It runs in this
 * thread (`module.registerHooks`): the older `register()` is deprecated and costs a second thread, 40 MB here.
 */
async function hookImportsOfGrpc(): Promise<void> {
  const fromInstrumentation = createRequire(import.meta.resolve('@opentelemetry/instrumentation'));
  const hookFile = fromInstrumentation.resolve('import-in-the-middle/register-hooks.mjs');
  const hook = (await import(pathToFileURL(hookFile).href)) as {
    register(options: { include: string[] }): void;
  };
  hook.register({ include: ['@grpc/grpc-js'] });
}

const RECORD_AND_SAMPLE = 2;
const DO_NOT_RECORD = 0;

function parentBasedRatio(ratio: number): {
  shouldSample(parent: Context, traceId: string): { decision: 0 | 2 };
} {
  return {
    shouldSample: (context, traceId) => {
      const parent = trace.getSpanContext(context);
      const sampled =
        parent !== undefined && isSpanContextValid(parent)
          ? (parent.traceFlags & 1) === 1
          : isTraceSampled(traceId, ratio);
      return { decision: sampled ? RECORD_AND_SAMPLE : DO_NOT_RECORD };
    },
  };
}
