/** What rules may take a claim's value for. */
export type ClaimKind = 'string' | 'string-list' | 'int' | 'bool';

/** By name: the claims that an issuer's tokens may be asked for. */
export type ClaimKinds = ReadonlyMap<string, ClaimKind>;

/** Claims whose type their specification gives: RFC 7519 §4.1, RFC 8693 §4, and the binding to a workload. */
export const REGISTERED_CLAIMS: ClaimKinds = new Map<string, ClaimKind>([
  ['iss', 'string'],
  ['sub', 'string'],
  ['jti', 'string'],
  ['exp', 'int'],
  ['nbf', 'int'],
  ['iat', 'int'],
  ['scope', 'string'],
  ['client_id', 'string'],
  ['spiffe_id', 'string'],
]);

/** Entries of one list or object of a claim. */
const CLAIM_ENTRIES_MAX = 1000;
/** Values of all claims of a token, at every depth. */
const CLAIM_VALUES_MAX = 5000;
const CLAIM_DEPTH_MAX = 16;

type ClaimsRead =
  /** As conditions see them: whole numbers are bigints, objects have no prototype. */
  { readonly claims: Readonly<Record<string, unknown>> } | { readonly malformed: string };

/** Reads the claims of one issuer's tokens, once for each token, within bounds. */
export class ClaimsReader {
  readonly #kinds: ClaimKinds;
  readonly #read = new WeakMap<object, ClaimsRead>();

  /** @param kinds what the policy document declares; empty: nothing is known of the claims */
  constructor(kinds: ClaimKinds) {
    this.#kinds = kinds;
  }

  read(claims: Readonly<Record<string, unknown>>): ClaimsRead {
    const known = this.#read.get(claims);
    if (known !== undefined) return known;
    const read = this.#convert(claims);
    this.#read.set(claims, read);
    return read;
  }

  /** Sentences name declared claims alone: other names are the token's own text. */
  #convert(claims: Readonly<Record<string, unknown>>): ClaimsRead {
    for (const [name, kind] of this.#kinds) {
      const claim = Object.hasOwn(claims, name) ? claims[name] : undefined;
      if (claim !== undefined && !isOfKind(claim, kind))
        return { malformed: `the claim ${name} is not ${KIND_NAMES[kind]}` };
    }
    const budget = { left: CLAIM_VALUES_MAX };
    const converted = convert(claims, 0, budget);
    return converted === TOO_MUCH
      ? {
          malformed: `the token's claims have more than ${CLAIM_ENTRIES_MAX} entries in a list, ${CLAIM_VALUES_MAX} values or ${CLAIM_DEPTH_MAX} levels`,
        }
      : { claims: converted as Record<string, unknown> };
  }
}

export const KIND_NAMES: Readonly<Record<ClaimKind, string>> = {
  string: 'text',
  'string-list': 'a list of texts',
  int: 'a whole number',
  bool: 'true or false',
};

function isOfKind(claim: unknown, kind: ClaimKind): boolean {
  switch (kind) {
    case 'string':
      return typeof claim === 'string';
    case 'int':
      return Number.isSafeInteger(claim);
    case 'bool':
      return typeof claim === 'boolean';
    case 'string-list':
      return (
        Array.isArray(claim) &&
        claim.length <= CLAIM_ENTRIES_MAX &&
        claim.every((entry) => typeof entry === 'string')
      );
  }
}

const TOO_MUCH = Symbol('more than claims may have');

function convert(value: unknown, depth: number, budget: { left: number }): unknown {
  budget.left -= 1;
  if (budget.left < 0 || depth > CLAIM_DEPTH_MAX) return TOO_MUCH;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof value !== 'object' || value === null) return value;
  const entries: readonly (readonly [PropertyKey, unknown])[] = Array.isArray(value)
    ? [...value.entries()]
    : Object.entries(value);
  if (entries.length > CLAIM_ENTRIES_MAX) return TOO_MUCH;
  const whole: Record<PropertyKey, unknown> = Array.isArray(value)
    ? ([] as unknown[] as unknown as Record<PropertyKey, unknown>)
    : (Object.create(null) as Record<PropertyKey, unknown>);
  for (const [key, entry] of entries) {
    const converted = convert(entry, depth + 1, budget);
    if (converted === TOO_MUCH) return TOO_MUCH;
    whole[key] = converted;
  }
  return whole;
}
