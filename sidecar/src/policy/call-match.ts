import type { Contract } from '@gatehouse/contracts';
import type { CallMatch } from '@gatehouse/contracts/policy';
import { coversIdentity, type IdentityPattern, parseIdentityPattern } from './identity-pattern.ts';
import { ModelMatcher } from './model-matcher.ts';
import { pathsOf } from './schema-parts.ts';

/** The calls that a limit or a protection concerns, ready to be asked. */
export class CompiledMatch {
  /** Null: any. */
  readonly #identities: readonly IdentityPattern[] | null;
  readonly #paths: ReadonlySet<string> | null;
  readonly models: ModelMatcher | null;
  readonly #match: CallMatch | undefined;

  constructor(match: CallMatch | undefined, contract: Contract) {
    this.#match = match;
    const { identities = [], methods = [], permissions = [], models = [] } = match ?? {};
    this.#identities =
      identities.length > 0 ? identities.map((text) => parseIdentityPattern(text) as IdentityPattern) : null;
    this.#paths =
      methods.length + permissions.length > 0 ? new Set(pathsOf({ methods, permissions }, contract)) : null;
    this.models = models.length > 0 ? new ModelMatcher(models) : null;
  }

  /** In words: who calls what. */
  describe(): string {
    const { identities = [], methods = [], permissions = [], models = [] } = this.#match ?? {};
    const parts = [identities, [...methods, ...permissions], models].map((names) => names.join(', '));
    return parts.every((part) => part === '') ? 'everyone' : parts.filter((part) => part !== '').join(' · ');
  }

  /** Whether it concerns an identity; asked once for each. */
  concerns(identity: IdentityPattern): boolean {
    return this.#identities?.some((pattern) => coversIdentity(pattern, identity)) ?? true;
  }

  hasPath(path: string): boolean {
    return this.#paths?.has(path) ?? true;
  }

  /** A call whose model is not known is matched by what names no model alone. */
  hasModel(model: string | null): boolean {
    return this.models === null || (model !== null && this.models.matches(model));
  }
}
