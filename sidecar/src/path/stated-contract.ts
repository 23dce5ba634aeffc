import { CONTRACT_VERSION_PATTERN, type ContractFit, contractFit } from '@gatehouse/contracts';
import type { Refusal } from './refusal.ts';

/** What a stub was made from is held against what is served here. Without a version on either side nothing is. */
export class StatedContracts {
  readonly #served: string | null;
  /** Nearly all calls come from stubs of one version: its verdict is kept, and no other. */
  #last = '';
  #fit: ContractFit | 'malformed' = 'fits';

  /** @param served the version that the contract states; null: none */
  constructor(served: string | null) {
    this.#served = served;
    if (served !== null) this.#last = served;
  }

  /**
   * A stub of a newer minor version may call what is known here.
   * @param stated the request's `gatehouse-contract`; null: a caller that says nothing, such as grpcurl
   * @param isKnown whether the contract has the method
   */
  refuse(stated: string | null, isKnown: boolean): Refusal | null {
    const served = this.#served;
    if (stated === null || served === null) return null;
    if (stated !== this.#last) {
      this.#fit = CONTRACT_VERSION_PATTERN.test(stated) ? contractFit(stated, served) : 'malformed';
      this.#last = stated;
    }
    switch (this.#fit) {
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
}
