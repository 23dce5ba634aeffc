import { describe, expect, it } from 'vitest';
import type { ReceivedSpan } from './otlp-receiver.ts';
import { buildTraceTree, layOutTrace, spanBar } from './trace-tree.ts';

function span(spanId: string, parentSpanId: string, startTimeMs: number, endTimeMs: number): ReceivedSpan {
  return {
    traceId: 't',
    spanId,
    parentSpanId,
    service: 's',
    name: spanId,
    kind: 'server',
    startTimeMs,
    endTimeMs,
    attributes: {},
    events: [],
    links: [],
    status: 'unset',
  };
}

describe('layOutTrace', () => {
  it('puts children under their parents in the order in which they began, whatever order they came in', () => {
    const spans = [span('c', 'a', 5, 8), span('d', 'c', 6, 7), span('b', 'a', 1, 4), span('a', '', 0, 10)];
    const rows = layOutTrace(buildTraceTree(spans));
    expect(rows.map((row) => `${row.branch}${row.span.name}`)).toEqual(['a', '├ b', '└ c', '  └ d']);
    expect(rows.map(({ offsetMs, durationMs }) => [offsetMs, durationMs])).toEqual([
      [0, 10],
      [1, 3],
      [5, 3],
      [6, 1],
    ]);
  });

  it('shows a span whose parent has not arrived as a root, and survives a span that is its own parent', () => {
    const rows = layOutTrace(
      buildTraceTree([span('a', '', 0, 1), span('b', 'lost', 2, 3), span('c', 'c', 4, 5)]),
    );
    expect(rows.map((row) => `${row.branch}${row.span.name}`)).toEqual(['a', 'b', 'c']);
  });
});

describe('spanBar', () => {
  it.each([
    [0, 10, '━━━━━━━━━━'],
    [5, 5, '·····━━━━━'],
    [9.99, 0.01, '·········━'],
    [10, 0, '·········━'],
    [0, 0, '━·········'],
  ])('shows a span from %d ms for %d ms of 10 within its cells', (offsetMs, durationMs, bar) => {
    expect(spanBar({ branch: '', span: span('a', '', 0, 0), offsetMs, durationMs }, 10, 10)).toBe(bar);
  });
});
