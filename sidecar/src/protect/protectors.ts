import type { Contract } from '@gatehouse/contracts';
import type { Policy } from '../policy/index.ts';
import { HitCounts } from './messages/hit-counts.ts';
import { createProtector, type Protector, type ProtectorProblem } from './protector.ts';
import type { Pseudonyms } from './pseudonyms.ts';

/** The protectors of the policies that calls in progress were decided by. */
export class Protectors {
  /** What has been found in all calls. */
  readonly hits = new HitCounts();
  readonly #contract: Contract;
  readonly #keys: ReadonlyMap<string, Pseudonyms>;
  readonly #byPolicy = new WeakMap<Policy, Protector>();

  /** @param keys by the names that protections use */
  constructor(contract: Contract, keys: ReadonlyMap<string, Pseudonyms>) {
    this.#contract = contract;
    this.#keys = keys;
  }

  get keyNames(): ReadonlySet<string> {
    return new Set(this.#keys.keys());
  }

  /** To be asked before a policy comes into force. @returns why it can't */
  load(policy: Policy): readonly ProtectorProblem[] {
    const made = createProtector({
      contract: this.#contract,
      protections: policy.protections,
      detectors: policy.document.detectors.map(({ name, looksFor, charactersMax }) => ({
        name,
        charactersMax,
        pattern: looksFor?.$case === 'pattern' ? looksFor.value : undefined,
        words: looksFor?.$case === 'dictionary' ? looksFor.value.words : undefined,
      })),
      keys: this.#keys,
      hits: this.hits,
    });
    if ('problems' in made) return made.problems;
    this.#byPolicy.set(policy, made.protector);
    return [];
  }

  /** @throws for a policy that was not loaded: a call under it would not be protected */
  of(policy: Policy): Protector {
    const protector = this.#byPolicy.get(policy);
    if (protector === undefined) throw new Error('a policy is in force whose protections were not loaded');
    return protector;
  }
}
