import { CONTRACT_VERSION_PATTERN, contractFit } from '@gatehouse/contracts';

/** What a sidecar and its app say of the contract between them. */
export type ContractState = {
  /** The version that the sidecar enforces; null: its descriptor set states none. */
  readonly enforced: string | null;
  /** The version that the app says it serves, with its health; null: it says none, or has not been asked yet. */
  readonly app: string | null;
};

/** Why the two can't work together, as a sentence; empty when they can, or when one of them states nothing. */
export function contractNotReady(state: ContractState): string {
  return fitOf(state) === 'other' ? `${sentence(state)}, another major version` : '';
}

/** What does not work although the sidecar is ready. */
export function contractNotes(state: ContractState): string[] {
  return fitOf(state) === 'newer'
    ? [`${sentence(state)}: its newer methods are refused and its newer fields not looked into`]
    : [];
}

function fitOf({ enforced, app }: ContractState): ReturnType<typeof contractFit> {
  if (enforced === null || app === null || !CONTRACT_VERSION_PATTERN.test(app)) return 'fits';
  return contractFit(app, enforced);
}

function sentence({ enforced, app }: ContractState): string {
  return `the app serves contract ${app ?? ''}, and the descriptor set of the sidecar is of contract ${enforced ?? ''}`;
}
