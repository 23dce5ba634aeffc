import type { Random } from './random.ts';

/** What the Social Security Administration gives out: area 001 to 899 but 666, group 01 to 99, serial 0001 to 9999. */
function ssnParts(random: Random): readonly [string, string, string] {
  let area = random.integer(1, 899);
  if (area === 666) area = 667;
  const pad = (value: number, digits: number) => String(value).padStart(digits, '0');
  return [pad(area, 3), pad(random.integer(1, 99), 2), pad(random.integer(1, 9999), 4)];
}

/** Without separators it stands behind a label, which is not part of it. */
export function usSsn(random: Random): { readonly label: string; readonly value: string } {
  const parts = ssnParts(random);
  const label = random.pick([
    'SSN: ',
    'Social Security Number ',
    'ssn=',
    'My social security no. is ',
    'SSN ',
  ]);
  const bare = random.chance(0.2);
  const separator = bare ? '' : random.pick(['-', '-', '-', '-', ' ', '.', '\u2013', ' - ', '\u2011']);
  return { label: bare || random.chance(0.4) ? label : '', value: parts.join(separator) };
}
