import { isValidPhoneNumber } from 'libphonenumber-js/min';
import { expect, it } from 'vitest';
import { Random } from '../../../test/protect-corpus/random.ts';
import { isInternationalNumber } from './numbering-plans.ts';

const TRIALS = 3000;
/** The digit that a country dials before its own numbers: the library takes it off, we leave that to who finds it. */
const TRUNK = /^(?:7|81|44|49|33|86|91)[018]/;

it('takes for numbers of a plan those that the library’s own parser takes', () => {
  const random = new Random(43);
  const codes = [
    '1',
    '44',
    '49',
    '33',
    '39',
    '7',
    '81',
    '86',
    '91',
    '352',
    '372',
    '800',
    '870',
    '999',
    '210',
    '0',
  ];
  let valid = 0;
  const missed: string[] = [];
  let mistaken = 0;
  for (let count = 0; count < TRIALS; count++) {
    const digits = random.pick(codes) + random.string(random.integer(4, 12));
    const found = isInternationalNumber(digits);
    if (isValidPhoneNumber(`+${digits}`)) {
      valid++;
      if (!found && !TRUNK.test(digits)) missed.push(digits);
    } else if (found) mistaken++;
  }
  expect(valid).toBeGreaterThan(TRIALS / 10);
  expect(missed).toEqual([]);
  expect(mistaken).toBeLessThan(TRIALS / 50);
});
