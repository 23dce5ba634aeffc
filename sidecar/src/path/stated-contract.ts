import { CONTRACT_VERSION_PATTERN, type ContractFit, contractFit } from '@gatehouse/contracts';
import type { Refusal } from './refusal.ts';

type Verdict = ContractFit | 'malformed';

/** Stubs of more versions are judged anew: callers may state whatever they like. */
const VERDICTS_KEPT_MAX = 16;

/** What a stub was made from is held against what is served here. Without a version on either side nothing is. */
export class StatedContracts {
  readonly #served: string | null;
  readonly #verdicts = new Map<string, Verdict>();

  /** @param served the version that the contract states; null: none */
  constructor(served: string | null) {
    this.#served = served;
  }

  /**
   * A stub of a newer minor version may call what is known here.
   * @param stated the request's `gatehouse-contract`; null: a caller that says nothing, such as grpcurl
   * @param isKnown whether the contract has the method
   */
  refuse(stated: string | null, isKnown: boolean): Refusal | null {
    const served = this.#served;
    if (stated === null || served === null) return null;
    switch (this.#verdicts.get(stated) ?? this.#judge(stated, served)) {
      case 'fits':
        return null;
      case 'newer':
        return isKnown ? null : { kind: 'contract-mismatch', stated, served, fit: 'newer' };
      case 'other':
        return { kind: 'contract-mismatch', stated, served, fit: 'other' };
      case 'malformed':
        return { kind: 'malformed', field: 'gatehouse-contract', expected: 'a version such as 1.4.0' };
    }
  }

  #judge(stated: string, served: string): Verdict {
    const verdict = CONTRACT_VERSION_PATTERN.test(stated) ? contractFit(stated, served) : 'malformed';
    if (this.#verdicts.size < VERDICTS_KEPT_MAX && verdict !== 'malformed')
      this.#verdicts.set(stated, verdict);
    return verdict;
  }
}
