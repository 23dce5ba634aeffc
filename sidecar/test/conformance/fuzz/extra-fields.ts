import type { Random } from '../support/random.ts';
import type { Pair } from './header-writer.ts';

/** Legal fields beside those that a head must have: `own` is of one direction alone, and so is the cookie's name. */
export function extraFields(random: Random, own: Pair, cookie: string): Pair[] {
  const fields: Pair[] = [];
  const count = random.below(5);
  for (let i = 0; i < count; i++) {
    fields.push(
      random.pick<Pair>([
        own,
        ['cache-control', 'no-cache'],
        ['custom-key', 'custom-value'],
        [cookie, `c=${random.below(3)}`],
        ['x-empty', ''],
        ['x-bytes', String.fromCharCode(0x80 + random.below(128), 0x21)],
        [`x-${random.below(9)}`, 'v'.repeat(random.below(200))],
      ]),
    );
  }
  return fields;
}
