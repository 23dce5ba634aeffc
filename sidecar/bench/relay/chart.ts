/** A bar chart as SVG: groups of bars, one for each candidate, on a logarithmic scale because the costs span it. */

type Bar = { readonly name: string; readonly value: number };
export type Group = { readonly title: string; readonly bars: readonly Bar[] };

const COLOURS = ['#d6336c', '#495057', '#868e96', '#adb5bd', '#1c7ed6', '#f08c00'];
const ROW_HEIGHT = 15;
const GROUP_GAP = 14;
const LEFT = 250;
const WIDTH = 860;
const BAR_WIDTH_MAX = 470;
const TOP = 64;

/** @param unit what the values are, shown above */
export function barChart(title: string, unit: string, groups: readonly Group[]): string {
  const values = groups.flatMap(({ bars }) => bars.map(({ value }) => value));
  const low = 10 ** Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(...values);
  const x = (value: number): number => (Math.log(value / low) / Math.log(high / low)) * BAR_WIDTH_MAX;
  const names = [...new Set(groups.flatMap(({ bars }) => bars.map(({ name }) => name)))];
  const colour = (name: string): string => COLOURS[names.indexOf(name) % COLOURS.length] as string;
  const parts: string[] = [];
  let y = TOP;
  for (const group of groups) {
    parts.push(text({ x: LEFT - 10, y: y + 12, anchor: 'end' }, group.title));
    for (const { name, value } of group.bars) {
      const width = Math.max(1, x(value)).toFixed(1);
      parts.push(
        `<rect x="${LEFT}" y="${y}" width="${width}" height="${ROW_HEIGHT - 3}" fill="${colour(name)}"/>`,
      );
      parts.push(
        text({ x: LEFT + Number(width) + 5, y: y + 11, anchor: 'start' }, `${name} ${format(value)}`),
      );
      y += ROW_HEIGHT;
    }
    y += GROUP_GAP;
  }
  const grid: string[] = [];
  for (let tick = low; tick <= high; tick *= 10) {
    const at = (LEFT + x(tick)).toFixed(1);
    grid.push(`<line x1="${at}" x2="${at}" y1="${TOP - 8}" y2="${y}" stroke="#e9ecef"/>`);
    grid.push(text({ x: Number(at), y: TOP - 12, anchor: 'middle' }, format(tick)));
  }
  const head = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y + 6}" font-family="sans-serif" font-size="11" fill="#212529">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="12" y="22" font-size="15" font-weight="bold">${escape(title)}</text>`,
    `<text x="12" y="38" fill="#868e96">${escape(unit)}</text>`,
  ];
  return `${[...head, ...grid, ...parts].join('\n')}\n</svg>\n`;
}

function text({ x, y, anchor }: { x: number; y: number; anchor: string }, content: string): string {
  return `<text x="${x.toFixed(1)}" y="${y}" text-anchor="${anchor}">${escape(content)}</text>`;
}

function escape(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

export function format(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(1);
}
