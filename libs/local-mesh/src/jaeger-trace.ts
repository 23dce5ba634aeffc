import type { AttributeValue, ReceivedSpan } from './otlp-receiver.ts';

type KeyValue = { readonly key: string; readonly value: AttributeValue };

/** A span as Jaeger's query API gives it. Times are microseconds. */
type JaegerSpan = {
  readonly traceID: string;
  readonly spanID: string;
  readonly processID: string;
  readonly operationName: string;
  readonly startTime: number;
  readonly duration: number;
  readonly references: readonly {
    readonly refType: string;
    readonly traceID: string;
    readonly spanID: string;
  }[];
  readonly tags: readonly KeyValue[];
  readonly logs: readonly { readonly timestamp: number; readonly fields: readonly KeyValue[] }[];
};

/** A trace as Jaeger's query API gives it. */
export type JaegerTrace = {
  readonly spans: readonly JaegerSpan[];
  readonly processes: Readonly<Record<string, { readonly serviceName: string }>>;
};

const QUERY_MS_MAX = 10_000;

/**
 * Asks Jaeger for a trace.
 * @param url of Jaeger's query service, as `http://127.0.0.1:16686`, with its base path where it has one
 * @returns the spans that are stored so far; null where there is no such trace
 * @throws Error when it cannot be asked
 */
export async function queryJaeger(url: string, traceId: string): Promise<readonly ReceivedSpan[] | null> {
  const answer = await fetch(`${url.replace(/\/$/, '')}/api/traces/${traceId}`, {
    signal: AbortSignal.timeout(QUERY_MS_MAX),
  });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`it answers ${answer.status}`);
  const { data } = (await answer.json()) as { readonly data?: readonly JaegerTrace[] };
  if (!Array.isArray(data)) throw new Error('its answer is not of the query API of Jaeger');
  const [trace] = data as readonly JaegerTrace[];
  return trace === undefined ? null : readJaegerTrace(trace);
}

const KINDS: Readonly<Record<string, ReceivedSpan['kind']>> = {
  internal: 'internal',
  server: 'server',
  client: 'client',
};

function readJaegerTrace({ spans, processes }: JaegerTrace): readonly ReceivedSpan[] {
  return spans.map((span) => {
    const attributes = attributesOf(span.tags);
    const [parent] = span.references.filter(
      ({ refType, traceID }) => refType === 'CHILD_OF' && traceID === span.traceID,
    );
    const links = span.references.filter((reference) => reference !== parent);
    return {
      traceId: span.traceID,
      spanId: span.spanID,
      parentSpanId: parent?.spanID ?? '',
      service: processes[span.processID]?.serviceName ?? 'unknown',
      name: span.operationName,
      kind: KINDS[String(attributes['span.kind'])] ?? 'other',
      startTimeMs: span.startTime / 1000,
      endTimeMs: (span.startTime + span.duration) / 1000,
      attributes,
      events: span.logs.map(({ timestamp, fields }) => {
        const { event = '', ...rest } = attributesOf(fields);
        return { name: String(event), timeMs: timestamp / 1000, attributes: rest };
      }),
      links: links.map(({ traceID: traceId, spanID: spanId }) => ({ traceId, spanId })),
      status: attributes['error'] === true ? 'error' : 'unset',
    };
  });
}

function attributesOf(pairs: readonly KeyValue[]): Record<string, AttributeValue> {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, value]));
}
