import { status } from '@grpc/grpc-js';
import { context, ROOT_CONTEXT } from '@opentelemetry/api';
import { suppressTracing } from '@opentelemetry/core';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-grpc';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { type Exporter, ExportFailure } from './export-queue.ts';
import { type OtlpCredentials, readOtlpCredentials, stateOfFiles } from './otlp-credentials.ts';
import type { OtlpTarget } from './otlp-target.ts';

/** A finished span in the SDK's own shape. */
export type ExportableSpan = Parameters<OTLPTraceExporter['export']>[0][number];
/** A log record in the SDK's own shape. */
export type ExportableLog = Parameters<OTLPLogExporter['export']>[0][number];

/** How long one export may take. */
const EXPORT_MS_MAX = 10_000;
/** Statuses after which the same export may be sent again (OTLP, "OTLP/gRPC response"). */
const RETRYABLE: ReadonlySet<unknown> = new Set([
  status.CANCELLED,
  status.DEADLINE_EXCEEDED,
  status.ABORTED,
  status.OUT_OF_RANGE,
  status.UNAVAILABLE,
  status.DATA_LOSS,
]);

export function openSpanExporter(target: OtlpTarget): Exporter<ExportableSpan> {
  return openExporter(target, (config) => new OTLPTraceExporter(config));
}

export function openLogExporter(target: OtlpTarget): Exporter<ExportableLog> {
  return openExporter(target, (config) => new OTLPLogExporter(config));
}

type Config = OtlpCredentials & { readonly url: string; readonly timeoutMillis: number };

type SdkExporter<T> = {
  export(items: T[], done: (result: { readonly code: number; readonly error?: Error }) => void): void;
  shutdown(): Promise<void>;
};

/** Nothing is read or connected before the first export; files that have changed are taken for the next one. */
function openExporter<T>(target: OtlpTarget, open: (config: Config) => SdkExporter<T>): Exporter<T> {
  let current: { readonly exporter: SdkExporter<T>; readonly files: string } | null = null;
  const close = (): void => {
    void current?.exporter.shutdown();
    current = null;
  };
  const exporterFor = async (files: string): Promise<SdkExporter<T>> => {
    if (current?.files === files) return current.exporter;
    close();
    const shown = await readOtlpCredentials(target);
    const exporter = open({ url: target.otlpEndpoint, timeoutMillis: EXPORT_MS_MAX, ...shown });
    current = { files, exporter };
    return exporter;
  };
  return {
    export: async (items) => {
      const exporter = await exporterFor(await stateOfFiles(target));
      const { code, error } = await send(exporter, items);
      if (code === 0) return;
      // An old connection would be tried again after up to two minutes, while spans are dropped; a new one is at once.
      close();
      const why = error ?? new Error('the collector refused what it was sent');
      throw new ExportFailure(why.message, { mayRepeat: 'code' in why && RETRYABLE.has(why.code) });
    },
    close,
  };
}

function send<T>(exporter: SdkExporter<T>, items: T[]): Promise<{ code: number; error?: Error }> {
  // An export is a gRPC call as well: traced, each export would bring forth the next.
  const quiet = suppressTracing(ROOT_CONTEXT);
  return new Promise((resolve) => context.with(quiet, () => exporter.export(items, resolve)));
}
