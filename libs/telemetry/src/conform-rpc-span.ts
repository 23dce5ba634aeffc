import { type Attributes, SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { ATTRIBUTES, SERVER_ERROR_STATUSES } from './names.ts';
import type { ExportableSpan } from './otlp-exporter.ts';

const GRPC_SCOPE = '@opentelemetry/instrumentation-grpc';

/**
 * Gives a span of the gRPC instrumentation the names of the current conventions, and the full method as its name. Error
 * texts are left out, since a server may have put a caller's words into them, and a server's span is an error only for
 * the statuses that mean a fault of the server. Other spans pass as they are.
 */
export function conformRpcSpan(span: ExportableSpan): ExportableSpan {
  if (span.instrumentationScope.name !== GRPC_SCOPE) return span;
  const { 'rpc.service': service, 'rpc.method': method, 'rpc.grpc.status_code': code } = span.attributes;
  const status = typeof code === 'number' ? STATUS_NAMES[code] : undefined;
  const failed = status !== undefined && isError(span.kind, status);
  const attributes: Attributes = {
    [ATTRIBUTES.rpcSystemName]: 'grpc',
    [ATTRIBUTES.rpcMethod]: `${String(service)}/${String(method)}`,
    ...kept(span.attributes),
    ...(status === undefined ? {} : { [ATTRIBUTES.rpcStatusCode]: status }),
    ...(failed ? { [ATTRIBUTES.errorType]: status } : {}),
  };
  return {
    name: span.name.replace(/^grpc\./, ''),
    kind: span.kind,
    spanContext: () => span.spanContext(),
    ...(span.parentSpanContext === undefined ? {} : { parentSpanContext: span.parentSpanContext }),
    startTime: span.startTime,
    endTime: span.endTime,
    duration: span.duration,
    ended: span.ended,
    status: { code: failed ? SpanStatusCode.ERROR : SpanStatusCode.UNSET },
    attributes,
    links: span.links,
    events: span.events,
    resource: span.resource,
    instrumentationScope: span.instrumentationScope,
    droppedAttributesCount: span.droppedAttributesCount,
    droppedEventsCount: span.droppedEventsCount,
    droppedLinksCount: span.droppedLinksCount,
  };
}

function isError(kind: SpanKind, status: string): boolean {
  return kind === SpanKind.SERVER ? SERVER_ERROR_STATUSES.has(status) : status !== 'OK';
}

const REPLACED = new Set([
  'rpc.system',
  'rpc.service',
  'rpc.method',
  'rpc.grpc.status_code',
  'grpc.error_name',
  'grpc.error_message',
]);

/** What needs no new name. Over a Unix socket the instrumentation gives a port that is not a number. */
function kept(attributes: Attributes): Attributes {
  const wanted = (value: unknown): boolean => value !== undefined && !Number.isNaN(value);
  return Object.fromEntries(
    Object.entries(attributes).filter(([name, value]) => !REPLACED.has(name) && wanted(value)),
  );
}

/** gRPC's status names in the order of their numbers. */
const STATUS_NAMES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;
