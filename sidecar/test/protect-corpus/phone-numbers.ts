import type { Random } from './random.ts';

/**
 * Calling code (ITU-T E.164 list) and national numbers in groups, as the national numbering plans notified to the ITU have them:
 * mobile and geographic ranges in use. `#` is any digit, `X` one from 2 to 9.
 */
const PLANS: readonly (readonly [code: string, trunk: string, numbers: readonly string[]])[] = [
  ['1', '', ['212 XX# ####', '415 XX# ####', '604 XX# ####', '312 X3# ####']], // United States, Canada
  ['44', '0', ['20 7X## ####', '161 4## ####', '7700 9#####', '7911 1#####']], // United Kingdom
  ['49', '0', ['30 XX######', '89 XX######', '151 XX######', '176 XX######', '40 XX#####']], // Germany
  ['33', '0', ['1 4X ## ## ##', '6 1X ## ## ##', '7 8# ## ## ##']], // France
  ['39', '', ['06 6### ####', '347 XX# ####', '02 8### ####']], // Italy
  ['34', '', ['91 X## ## ##', '612 ### ###', '93 X## ## ##']], // Spain
  ['31', '0', ['6 1### ####', '20 XX# ####']], // Netherlands
  ['32', '0', ['470 ## ## ##', '2 5## ## ##']], // Belgium
  ['41', '0', ['79 XX# ## ##', '44 XX# ## ##']], // Switzerland
  ['43', '0', ['664 XX#####', '1 5######']], // Austria
  ['46', '0', ['70 XX# ## ##', '8 5## ### ##']], // Sweden
  ['47', '', ['91 X# ## ##', '22 X# ## ##']], // Norway
  ['45', '', ['20 ## ## ##', '33 1# ## ##']], // Denmark
  ['48', '', ['501 ### ###', '22 6## ## ##']], // Poland
  ['61', '0', ['412 ### ###', '2 9### ####']], // Australia
  ['64', '0', ['21 XX# ###', '9 3## ####']], // New Zealand
  ['81', '0', ['90 XX## ####', '3 3### ####']], // Japan
  ['82', '0', ['10 XX## ####', '2 7## ####']], // Korea
  ['86', '', ['138 #### ####', '10 6### ####']], // China
  ['91', '0', ['98### #####', '98765 #####']], // India
  ['55', '0', ['11 9#### ####', '21 2### ####']], // Brazil
  ['52', '', ['55 5### ####', '33 3### ####']], // Mexico
  ['7', '8', ['916 ### ## ##', '495 XX# ## ##']], // Russia
  ['27', '0', ['82 ### ####', '11 4## ####']], // South Africa
  ['65', '', ['9### ####', '6### ####']], // Singapore
  ['90', '0', ['532 ### ## ##', '212 XX# ## ##']], // Türkiye
  ['972', '0', ['54 XX# ####', '3 6## ####']], // Israel
  ['971', '0', ['50 XX# ####', '4 3## ####']], // United Arab Emirates
  ['234', '0', ['803 XX# ####']], // Nigeria
  ['353', '0', ['87 XX# ####', '1 6## ####']], // Ireland
];

const LABELS = [
  'Tel. ',
  'Phone: ',
  'call me at ',
  'mobile ',
  'Fax: ',
  'my cell number is ',
  'WhatsApp ',
  'tel:',
];

/** In a national form it stands behind a label, but for North America's. */
export function phoneNumber(random: Random): { readonly label: string; readonly value: string } {
  const [code, trunk, numbers] = random.pick(PLANS);
  const national = random.fill(random.pick(numbers));
  const label = random.chance(0.3) ? random.pick(LABELS) : '';
  switch (random.integer(0, 9)) {
    case 0:
      return { label, value: `+${code}${national.replaceAll(' ', '')}` };
    case 1:
      return { label, value: `+${code} ${national.replace(' ', '-')}` };
    case 2:
      return { label, value: `00${code} ${national}` };
    case 3:
      return { label, value: trunk === '0' ? `+${code} (0)${national}` : `+${code} ${national}` };
    case 4:
      return { label, value: `+${code}.${national.replaceAll(' ', '.')}` };
    case 5:
    case 6:
      return { label: random.pick(LABELS), value: `${trunk}${national}` };
    case 7:
    case 8:
      return { label, value: northAmerican(random) };
    default:
      return { label, value: `+${code} ${national}` };
  }
}

function northAmerican(random: Random): string {
  const area = random.pick(['212', '415', '604', '312', '737', '206', '416', '305']);
  const rest = random.fill('XX3-####');
  return random.pick([
    `(${area}) ${rest}`,
    `${area}-${rest}`,
    `${area}.${rest.replace('-', '.')}`,
    `${area} ${rest.replace('-', ' ')}`,
    `1-${area}-${rest}`,
    `+1 (${area}) ${rest}`,
  ]);
}
