import { createRequire } from 'node:module';
import { type Attributes, type Context, isSpanContextValid, trace } from '@opentelemetry/api';
import { conformRpcSpan } from './conform-rpc-span.ts';
import type { OtlpOptions } from './otlp-target.ts';
import { createSpanQueue, type SpanQueueLimits } from './span-queue.ts';
import { traceSampler } from './trace-context.ts';

export type TelemetryOptions = SpanQueueLimits &
  OtlpOptions & {
    /** `service.name` of every span. */
    readonly serviceName: string;
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
 * Starts tracing in a service process: grpc-js servers and clients make spans and carry their context in `traceparent`.
 * It has to have returned before a server gets its services and before a client is used, so `main.ts` awaits it first.
 *
 * Clients are traced where calls go through the methods of grpc-js's `Client` (`makeUnaryRequest`, …). A class that
 * `makeClientConstructor` has made is not: it is out of reach of whoever does not hook every import of the process.
 */
export async function startTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const { otlpEndpoint } = options;
  if (otlpEndpoint === undefined) return { shutdown: async () => {} };
  const { NodeSDK } = await import('@opentelemetry/sdk-node');
  const { GrpcInstrumentation } = await import('@opentelemetry/instrumentation-grpc');
  const { openSpanExporter } = await import('./otlp-exporter.ts');
  const queue = createSpanQueue({ ...options, exporter: openSpanExporter({ ...options, otlpEndpoint }) });
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
  patchGrpc();
  return { shutdown: () => sdk.shutdown() };
}

/**
 * Lets the instrumentation patch the prototypes of grpc-js, which everybody shares. It watches `require`, and nothing else
 * requires grpc-js in a program of ES modules. The usual way, a hook on every import, keeps a process from using compiled
 * code: it cost each service 20 MB and, as `module.register`, another thread of 46 MB.
 */
function patchGrpc(): void {
  createRequire(import.meta.url)('@grpc/grpc-js');
}

const RECORD_AND_SAMPLE = 2;
const DO_NOT_RECORD = 0;

function parentBasedRatio(ratio: number): {
  shouldSample(parent: Context, traceId: string): { decision: 0 | 2 };
} {
  const isSampled = traceSampler(ratio);
  return {
    shouldSample: (context, traceId) => {
      const parent = trace.getSpanContext(context);
      const sampled =
        parent !== undefined && isSpanContextValid(parent)
          ? (parent.traceFlags & 1) === 1
          : isSampled(traceId);
      return { decision: sampled ? RECORD_AND_SAMPLE : DO_NOT_RECORD };
    },
  };
}
