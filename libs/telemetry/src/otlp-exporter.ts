import { context, ROOT_CONTEXT } from '@opentelemetry/api';
import { suppressTracing } from '@opentelemetry/core';
import { ProtobufLogsSerializer, ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import type { Exporter } from './export-queue.ts';
import { openOtlpConnection } from './otlp-connection.ts';
import type { OtlpTarget } from './otlp-target.ts';

/** A finished span in the SDK's own shape. */
export type ExportableSpan = Parameters<typeof ProtobufTraceSerializer.serializeRequest>[0][number];
/** A log record in the SDK's own shape. */
export type ExportableLog = Parameters<typeof ProtobufLogsSerializer.serializeRequest>[0][number];

const SERVICES = '/opentelemetry.proto.collector';

export function openSpanExporter(target: OtlpTarget): Exporter<ExportableSpan> {
  return openExporter(target, `${SERVICES}.trace.v1.TraceService/Export`, {
    write: (spans) => ProtobufTraceSerializer.serializeRequest(spans),
    refused: (answer) => ProtobufTraceSerializer.deserializeResponse(answer).partialSuccess?.rejectedSpans,
  });
}

export function openLogExporter(target: OtlpTarget): Exporter<ExportableLog> {
  return openExporter(target, `${SERVICES}.logs.v1.LogsService/Export`, {
    write: (logs) => ProtobufLogsSerializer.serializeRequest(logs),
    refused: (answer) =>
      ProtobufLogsSerializer.deserializeResponse(answer).partialSuccess?.rejectedLogRecords,
  });
}

type Form<T> = {
  readonly write: (items: T[]) => Uint8Array | undefined;
  /** How many items an answer says were refused. */
  readonly refused: (answer: Uint8Array) => number | undefined;
};

function openExporter<T>(target: OtlpTarget, path: string, { write, refused }: Form<T>): Exporter<T> {
  const connection = openOtlpConnection(target);
  return {
    export: async (items) => {
      const request = write(items);
      if (request === undefined) return items.length;
      // An export is a gRPC call as well: traced, each export would bring forth the next.
      const quiet = suppressTracing(ROOT_CONTEXT);
      const answer = await context.with(quiet, () => connection.send(path, request));
      return refused(answer) ?? 0;
    },
    close: connection.close,
  };
}
