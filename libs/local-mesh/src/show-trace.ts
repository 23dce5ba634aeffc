import type { ReceivedSpan } from './otlp-receiver.ts';
import { type Colors, formatMs, type Screen } from './screen.ts';
import { traceNotes } from './trace-notes.ts';
import { buildTraceTree, layOutTrace, spanBar, type TraceRow } from './trace-tree.ts';

const BAR_CELLS = 20;
const TIME_COLUMNS = 9;

/** Shows a trace as a tree: when each span began after the first, how long it took, who did what. */
export function showTrace(screen: Screen, spans: readonly ReceivedSpan[]): void {
  const { colors } = screen;
  const rows = layOutTrace(buildTraceTree(spans));
  const [root] = rows;
  if (root === undefined) return;
  const totalMs = Math.max(...rows.map((row) => row.offsetMs + row.durationMs));
  const processes = new Set(spans.map(({ service }) => service)).size;
  const summary = `${spans.length} spans of ${processes} processes, ${formatMs(totalMs)}`;
  screen.line(colors.dim(`  trace ${root.span.traceId}: ${summary}`));
  screen.line(colors.dim(`${'begins'.padStart(TIME_COLUMNS)} ${'takes'.padStart(TIME_COLUMNS)}`));
  for (const row of rows) {
    const times = `${formatMs(row.offsetMs).padStart(TIME_COLUMNS)} ${formatMs(row.durationMs).padStart(TIME_COLUMNS)}`;
    screen.line(`${times}  ${colors.cyan(spanBar(row, totalMs, BAR_CELLS))}  ${label(row, colors)}`);
  }
}

/** `branch process what it did (notes)`. */
function label({ branch, span }: TraceRow, colors: Colors): string {
  const notes = traceNotes(span);
  const did = `${span.kind === 'client' ? '→ ' : ''}${shortName(span.name)}`;
  const painted = span.status === 'error' ? colors.red(did) : did;
  const note = notes.length === 0 ? '' : colors.dim(` (${notes.join(', ')})`);
  return `${colors.dim(branch)}${colors.bold(span.service)} ${painted}${note}`;
}

/** A method without its package: `InferenceService/Generate`. */
function shortName(name: string): string {
  return name.replace(/^[a-z0-9_.]+\.(?=[A-Z]\w*\/)/, '');
}
