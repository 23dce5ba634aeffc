import { format } from './chart.ts';
import type { Measured } from './measure.ts';
import type { Spread } from './statistics.ts';

export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}

export function spread({ median, low, high }: Spread): string {
  return `${format(median)} (${format(low)}–${format(high)})`;
}

/** CPU of a cell of the results, and what went wrong in it. */
export function cell(measured: Measured | undefined): string {
  if (measured === undefined) return '–';
  const failures = Object.entries(measured.failures).map(([kind, count]) => `${count} × ${kind}`);
  return `${spread(measured.cpuMicros)}${failures.length > 0 ? ` ⚠ ${failures.join(', ')}` : ''}`;
}
