import { parse } from 'yaml';

/** Shown as one row, although there is more below. */
const WHOLE = new Set(['resources', 'limits', 'volume']);

const HEAD = `# Values

Made from the comments in [values.yaml](values.yaml) by a test, which says when the two differ.
Each with its default.

`;

/**
 * The page with every value of a values.yaml: its path, its default, and the comment above it.
 * @returns the page, and the paths of values that have no comment
 */
export function valuesPage(text: string): {
  readonly page: string;
  readonly undocumented: readonly string[];
} {
  const values = parse(text);
  const rows: string[] = [];
  const undocumented: string[] = [];
  let path: string[] = [];
  let comment: string[] = [];
  let within = Number.POSITIVE_INFINITY;
  for (const line of text.split('\n')) {
    const [, spaces = '', rest = ''] = /^( *)(.*)$/.exec(line) ?? [];
    if (spaces.length > within) continue;
    if (rest.startsWith('#')) {
      const said = rest.replace(/^# ?/, '');
      comment = said.startsWith('-- ') ? [said.slice(3)] : [...comment, said];
      continue;
    }
    const [, key] = /^([A-Za-z]+):/.exec(rest) ?? [];
    if (key !== undefined) {
      path = [...path.slice(0, spaces.length / 2), key];
      const value = path.reduce((found, each) => (found as Record<string, unknown>)[each], values);
      within = Number.POSITIVE_INFINITY;
      if (isRow(key, value)) {
        within = spaces.length;
        if (comment.length === 0) undocumented.push(path.join('.'));
        rows.push(`- **${path.join('.')}** ${shown(value)}: ${comment.join(' ')}`);
      }
    }
    comment = [];
  }
  return { page: `${HEAD}${rows.join('\n')}\n`, undocumented };
}

function isRow(key: string, value: unknown): boolean {
  const isGroup = typeof value === 'object' && !Array.isArray(value) && Object.keys(value ?? {}).length > 0;
  return !isGroup || WHOLE.has(key);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 120 ? 'in values.yaml' : `\`${text}\``;
}
