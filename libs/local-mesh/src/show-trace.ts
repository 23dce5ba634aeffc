import { ATTRIBUTES } from '@gatehouse/telemetry/names';
import type { ReceivedSpan } from './otlp-receiver.ts';
import { formatMs, type Screen } from './screen.ts';
import { buildTraceTree, layOutTrace, spanBar, type TraceRow } from './trace-tree.ts';

const BAR_CELLS = 24;
const BAR_CELLS_WIDTH_MIN = 96;
const TIME_COLUMNS = 9;

/** Shows a trace as a tree: who did what, when it began after the first span, how long it took. */
export function showTrace(screen: Screen, spans: readonly ReceivedSpan[]): void {
  const { colors } = screen;
  const rows = layOutTrace(buildTraceTree(spans));
  const [root] = rows;
  if (root === undefined) return;
  const totalMs = Math.max(...rows.map((row) => row.offsetMs + row.durationMs));
  const processes = new Set(spans.map(({ service }) => service)).size;
  const barCells = screen.width >= BAR_CELLS_WIDTH_MIN ? BAR_CELLS : 0;
  const labelColumns = Math.min(
    Math.max(...rows.map((row) => label(row).length)),
    screen.width - 2 - 2 * TIME_COLUMNS - barCells - 2,
  );
  screen.line(
    colors.dim(
      `  trace ${root.span.traceId}: ${spans.length} spans of ${processes} processes, ${formatMs(totalMs)}`,
    ),
  );
  screen.line(
    colors.dim(
      `  ${''.padEnd(labelColumns)}${'begins'.padStart(TIME_COLUMNS)}${'takes'.padStart(TIME_COLUMNS)}`,
    ),
  );
  for (const row of rows) {
    const text = cut(label(row), labelColumns);
    const painted = row.span.status === 'error' ? colors.red(text) : paint(text, row, screen);
    const times = `${formatMs(row.offsetMs).padStart(TIME_COLUMNS)}${formatMs(row.durationMs).padStart(TIME_COLUMNS)}`;
    const bar = barCells === 0 ? '' : `  ${colors.cyan(spanBar(row, totalMs, barCells))}`;
    screen.line(`  ${painted}${' '.repeat(labelColumns - text.length)}${times}${bar}`);
  }
}

/** `branch service  what it did  why it was allowed or refused`. */
function label(row: TraceRow): string {
  const { span } = row;
  const rule = span.attributes[ATTRIBUTES.ruleId];
  const refusal = span.attributes[ATTRIBUTES.refusalReason];
  const retry = Number(span.attributes[ATTRIBUTES.retryNumber] ?? 0);
  const notes = [
    ...(rule === undefined ? [] : [`rule ${String(rule)}`]),
    ...(refusal === undefined ? [] : [`refused: ${String(refusal)}`]),
    ...(retry === 0 ? [] : [`try ${retry + 1}`]),
  ];
  const note = notes.length === 0 ? '' : ` (${notes.join(', ')})`;
  return `${row.branch}${span.service} ${arrow(span)}${shortName(span.name)}${note}`;
}

function arrow(span: ReceivedSpan): string {
  return span.kind === 'client' ? '→ ' : '';
}

/** A method without its package: `InferenceService/Generate`. */
function shortName(name: string): string {
  return name.replace(/^[a-z0-9_.]+\.(?=[A-Z]\w*\/)/, '');
}

function cut(text: string, columns: number): string {
  return text.length > columns ? `${text.slice(0, columns - 1)}…` : text;
}

function paint(text: string, row: TraceRow, { colors }: Screen): string {
  const service = `${row.branch}${row.span.service}`;
  if (!text.startsWith(service)) return text;
  return `${colors.dim(row.branch)}${colors.bold(row.span.service)}${text.slice(service.length)}`;
}
