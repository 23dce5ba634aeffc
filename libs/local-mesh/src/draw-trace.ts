import type { ReceivedSpan } from './otlp-receiver.ts';
import { formatMs } from './screen.ts';
import { traceNotes } from './trace-notes.ts';
import { buildTraceTree, layOutTrace, type TraceRow } from './trace-tree.ts';

const ROW_PX = 22;
const INDENT_PX = 16;
const LABELS_PX = 620;
const BARS_PX = 360;
const MARGIN_PX = 12;
const COLOURS = { server: '#3b6ea5', client: '#7a9cc4', internal: '#6a994e', other: '#8d99ae' } as const;

/** Draws a trace as an SVG document: the tree on the left, when each span ran on the right. */
export function drawTrace(spans: readonly ReceivedSpan[]): string {
  const rows = layOutTrace(buildTraceTree(spans));
  const totalMs = Math.max(...rows.map((row) => row.offsetMs + row.durationMs), 0.001);
  const width = LABELS_PX + BARS_PX + 2 * MARGIN_PX;
  const height = rows.length * ROW_PX + 2 * MARGIN_PX;
  const drawn = rows.map((row, index) => drawRow(row, MARGIN_PX + index * ROW_PX, totalMs));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...drawn,
    '</svg>',
    '',
  ].join('\n');
}

function drawRow({ branch, span, offsetMs, durationMs }: TraceRow, top: number, totalMs: number): string {
  const left = MARGIN_PX + (branch.length / 2) * INDENT_PX;
  const base = top + ROW_PX - 7;
  const barLeft = MARGIN_PX + LABELS_PX + (offsetMs / totalMs) * BARS_PX;
  const barWidth = Math.max(2, (durationMs / totalMs) * BARS_PX);
  const bold = `<tspan font-weight="bold">${escape(span.service)}</tspan>`;
  const notes = traceNotes(span).join(', ');
  const note = notes === '' ? '' : ` <tspan fill="#6c757d">${escape(notes)}</tspan>`;
  const fill = span.status === 'error' ? '#c1121f' : COLOURS[span.kind];
  const time = `<tspan fill="#6c757d">${formatMs(durationMs)}</tspan>`;
  return [
    `<text x="${left}" y="${base}">${bold} ${escape(span.name.replace(/^.*\//, ''))} ${time}${note}</text>`,
    `<rect x="${barLeft.toFixed(1)}" y="${top + 5}" width="${barWidth.toFixed(1)}" height="${ROW_PX - 10}" rx="2" fill="${fill}"/>`,
  ].join('\n');
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
