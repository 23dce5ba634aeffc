import type { ReceivedSpan } from './otlp-receiver.ts';

/** A span with the spans that it began. */
export type TraceNode = { readonly span: ReceivedSpan; readonly children: readonly TraceNode[] };

/** Orders spans into trees, by start time; a span whose parent has not arrived is a root of its own. */
export function buildTraceTree(spans: readonly ReceivedSpan[]): readonly TraceNode[] {
  const known = new Set(spans.map(({ spanId }) => spanId));
  const childrenOf = new Map<string, ReceivedSpan[]>();
  for (const span of spans.toSorted((one, other) => one.startTimeMs - other.startTimeMs)) {
    const parent = known.has(span.parentSpanId) && span.parentSpanId !== span.spanId ? span.parentSpanId : '';
    const siblings = childrenOf.get(parent);
    if (siblings === undefined) childrenOf.set(parent, [span]);
    else siblings.push(span);
  }
  const nodesUnder = (parent: string): TraceNode[] =>
    (childrenOf.get(parent) ?? []).map((span) => ({ span, children: nodesUnder(span.spanId) }));
  return nodesUnder('');
}

/** One line of a drawn tree. */
export type TraceRow = {
  /** Lines that lead from the parent to this span. */
  readonly branch: string;
  readonly span: ReceivedSpan;
  /** From the start of the earliest span. */
  readonly offsetMs: number;
  readonly durationMs: number;
};

/** Lays trees out as rows, parents before children. */
export function layOutTrace(roots: readonly TraceNode[]): readonly TraceRow[] {
  const originMs = Math.min(...roots.map(({ span }) => span.startTimeMs));
  const rowsOf = (node: TraceNode, branch: string, below: string): TraceRow[] => [
    {
      branch,
      span: node.span,
      offsetMs: node.span.startTimeMs - originMs,
      durationMs: node.span.endTimeMs - node.span.startTimeMs,
    },
    ...node.children.flatMap((child, index) => {
      const last = index === node.children.length - 1;
      return rowsOf(child, `${below}${last ? '└ ' : '├ '}`, `${below}${last ? '  ' : '│ '}`);
    }),
  ];
  return roots.flatMap((root) => rowsOf(root, '', ''));
}

/** Draws when a span ran as a bar within the whole trace, at least one cell wide. */
export function spanBar(row: TraceRow, totalMs: number, cells: number): string {
  const cellMs = Math.max(totalMs, 0.001) / cells;
  const from = Math.min(cells - 1, Math.floor(row.offsetMs / cellMs));
  const width = Math.max(1, Math.min(cells - from, Math.round(row.durationMs / cellMs)));
  return `${'·'.repeat(from)}${'━'.repeat(width)}${'·'.repeat(cells - from - width)}`;
}
