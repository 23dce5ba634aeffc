import type { ClaimKind } from './claims.ts';
import type { TokenTypes } from './condition.ts';
import type { SectionEntry } from './placed-entries.ts';

type IssuerEntry = Pick<SectionEntry<'jwtIssuers'>, 'name' | 'claims'>;

/** What a document says of the claims of its issuers' tokens. */
export class TokenTypeTable {
  readonly #issuers: readonly IssuerEntry[];
  readonly #byIssuer = new Map<string | undefined, TokenTypes>();

  /** @param issuers as they were written */
  constructor(issuers: readonly IssuerEntry[]) {
    this.#issuers = issuers;
  }

  /** What is known of the tokens that a rule looks at: of one issuer where it names one, else of all. */
  of(issuer: string | undefined): TokenTypes {
    let types = this.#byIssuer.get(issuer);
    if (types === undefined) {
      const named = this.#issuers.filter(({ name }) => issuer === undefined || name === issuer);
      types = this.#issuers.length === 0 ? { claims: null, isComplete: false } : typesOf(named);
      this.#byIssuer.set(issuer, types);
    }
    return types;
  }
}

function typesOf(issuers: readonly IssuerEntry[]): TokenTypes {
  const claims = new Map<string, ClaimKind>();
  const unclear = new Set<string>();
  for (const issuer of issuers) {
    for (const [name, type] of Object.entries(issuer.claims ?? {})) {
      const kind = claimKindOf(type);
      if (kind === undefined) continue;
      if ((claims.get(name) ?? kind) !== kind) unclear.add(name);
      claims.set(name, kind);
    }
  }
  for (const name of unclear) claims.delete(name);
  const isDeclared = issuers.length > 0 && issuers.every((issuer) => issuer.claims !== undefined);
  return { claims, isComplete: isDeclared && unclear.size === 0 };
}

/** Undefined: no type. */
export function claimKindOf(type: unknown): ClaimKind | undefined {
  switch (String(type).replace(/^CLAIM_TYPE_/, '')) {
    case 'STRING':
      return 'string';
    case 'STRING_LIST':
      return 'string-list';
    case 'INT':
      return 'int';
    case 'BOOL':
      return 'bool';
    default:
      return undefined;
  }
}
