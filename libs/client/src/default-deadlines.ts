import deadlines from './deadlines.json' with { type: 'json' };

const BY_PATH: ReadonlyMap<string, number> = new Map(Object.entries(deadlines));

/**
 * The deadline that the contract gives calls of a method, in milliseconds.
 * @param path `/pkg.Service/Method`
 * @returns undefined for a method that is not of our contracts
 */
export function defaultDeadlineMs(path: string): number | undefined {
  return BY_PATH.get(path);
}
