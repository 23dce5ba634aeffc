import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { expect, it } from 'vitest';
import { conformRpcSpan } from './conform-rpc-span.ts';
import type { ExportableSpan } from './otlp-exporter.ts';

function grpcSpan(
  kind: SpanKind,
  code: number,
  scope = '@opentelemetry/instrumentation-grpc',
): ExportableSpan {
  const resource: ExportableSpan['resource'] = {
    attributes: {},
    merge: () => resource,
    getRawAttributes: () => [],
  };
  return {
    name: 'grpc.p.S/Echo',
    kind,
    spanContext: () => ({ traceId: 't', spanId: 's', traceFlags: 1 }),
    startTime: [0, 0],
    endTime: [0, 1],
    duration: [0, 1],
    ended: true,
    status: { code: SpanStatusCode.ERROR, message: 'my secret words' },
    attributes: {
      'rpc.system': 'grpc',
      'rpc.service': 'p.S',
      'rpc.method': 'Echo',
      'rpc.grpc.status_code': code,
      'grpc.error_message': 'my secret words',
      'server.address': '/tmp/a.sock',
      'server.port': Number.NaN,
    },
    links: [],
    events: [],
    resource,
    instrumentationScope: { name: scope },
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

it('names a span by its full method and drops what has no meaning', () => {
  const span = conformRpcSpan(grpcSpan(SpanKind.SERVER, 0));
  expect(span.name).toBe('p.S/Echo');
  expect(span.attributes).toEqual({
    'rpc.system.name': 'grpc',
    'rpc.method': 'p.S/Echo',
    'server.address': '/tmp/a.sock',
    'rpc.status_code': 'OK',
  });
});

it.each([
  { side: 'server', kind: SpanKind.SERVER, name: 'PERMISSION_DENIED', code: 7, status: SpanStatusCode.UNSET },
  { side: 'server', kind: SpanKind.SERVER, name: 'INTERNAL', code: 13, status: SpanStatusCode.ERROR },
  { side: 'client', kind: SpanKind.CLIENT, name: 'PERMISSION_DENIED', code: 7, status: SpanStatusCode.ERROR },
])(
  "judges the status of a $side's span that ends with $name, and keeps no error text",
  ({ name, kind, code, status }) => {
    const span = conformRpcSpan(grpcSpan(kind, code));
    expect(span.status).toEqual({ code: status });
    expect(span.attributes['rpc.status_code']).toBe(name);
    expect(span.attributes['error.type']).toBe(status === SpanStatusCode.ERROR ? name : undefined);
    expect(JSON.stringify(span.attributes)).not.toContain('secret');
  },
);

it('leaves spans of others as they are', () => {
  const span = grpcSpan(SpanKind.INTERNAL, 0, 'another');
  expect(conformRpcSpan(span)).toBe(span);
});
