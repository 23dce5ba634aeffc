import metadata from 'libphonenumber-js/min/metadata';

/** Of what the library keeps of a numbering plan, by position: the pattern of all its national numbers. */
const NATIONAL_NUMBER_PATTERN = 2;

const CALLING_CODE_DIGITS_MAX = 3;
export const PHONE_DIGITS_MAX = 15;

const patterns = new Map<string, RegExp | null>();

/**
 * Whether digits are a calling code and a national number of that plan (ITU-T E.164). Reads the plans themselves: the library's
 * parser takes a hundred times as long, on text that others write.
 */
export function isInternationalNumber(digits: string): boolean {
  for (let codeDigits = 1; codeDigits <= CALLING_CODE_DIGITS_MAX; codeDigits++) {
    const pattern = patternOf(digits.slice(0, codeDigits));
    // No calling code is the beginning of another.
    if (pattern !== null) return pattern.test(digits.slice(codeDigits));
  }
  return false;
}

function patternOf(callingCode: string): RegExp | null {
  let pattern = patterns.get(callingCode);
  if (pattern === undefined) {
    pattern = compile(callingCode);
    patterns.set(callingCode, pattern);
  }
  return pattern;
}

/** Any of the plans that share a calling code. */
function compile(callingCode: string): RegExp | null {
  const { country_calling_codes: countries, countries: plans, nonGeographic } = metadata;
  const found = (countries as Record<string, readonly (keyof typeof plans)[]>)[callingCode]?.map(
    (country) => plans[country],
  );
  const all = found ?? [(nonGeographic as Record<string, readonly unknown[]>)[callingCode]];
  const national = all.flatMap((plan: readonly unknown[] | undefined) => {
    const pattern = plan?.[NATIONAL_NUMBER_PATTERN];
    return typeof pattern === 'string' ? [pattern] : [];
  });
  return national.length === 0 ? null : new RegExp(`^(?:${national.join('|')})$`);
}
