import type { Screen } from '@gatehouse/local-mesh';

/** Shows rows under column names; the last column is not padded. */
export function showTable(
  screen: Screen,
  columns: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const widths = columns.map((name, at) => Math.max(name.length, ...rows.map((row) => row[at]?.length ?? 0)));
  const lay = (cells: readonly string[]): string =>
    cells.map((cell, at) => (at === cells.length - 1 ? cell : cell.padEnd(widths[at] ?? 0))).join('  ');
  screen.line(screen.colors.dim(lay(columns)));
  for (const row of rows) screen.line(lay(row));
}
