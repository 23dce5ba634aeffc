import contract from './contract.json' with { type: 'json' };

const DEADLINES: ReadonlyMap<string, number> = new Map(Object.entries(contract.deadlines));

/** The version of the contract that the stubs are made from. Calls carry it, and a mesh of another one refuses them. */
export const CONTRACT_VERSION: string = contract.version;

/**
 * The deadline that the contract gives calls of a method, in milliseconds.
 * @param path `/pkg.Service/Method`
 * @returns undefined for a method that is not of our contract
 */
export function defaultDeadlineMs(path: string): number | undefined {
  return DEADLINES.get(path);
}
