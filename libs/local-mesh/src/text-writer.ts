import type { Screen } from './screen.ts';

/** Room for the rest of a word whose beginning still fitted. */
const MARGIN_COLUMNS = 8;
const LINE_COLUMNS_MAX = 100;

/**
 * Writes text that comes in pieces, indented, with lines broken between words.
 *
 * @returns writes the next piece; the first begins a line
 */
export function createTextWriter(screen: Screen, indent: string): (piece: string) => void {
  const columns = Math.min(screen.width, LINE_COLUMNS_MAX) - MARGIN_COLUMNS;
  let column = 0;
  let gap = '';
  return (piece) => {
    for (const part of piece.split(/(\s+)/)) {
      if (part === '') continue;
      if (/\S/.test(part)) {
        const breaks = gap.includes('\n') || (gap !== '' && column + gap.length + part.length > columns);
        if (column === 0 || breaks) {
          screen.write(
            column === 0 ? indent : `${gap.includes('\n') ? gap.replaceAll(/[^\n]/g, '') : '\n'}${indent}`,
          );
          column = indent.length;
          gap = '';
        }
        screen.write(`${gap}${part}`);
        column += gap.length + part.length;
        gap = '';
      } else if (column > 0) {
        gap += part;
      }
    }
  };
}
