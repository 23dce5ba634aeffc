/** An endpoint as the balancer sees it. */
export type Candidate = {
  /** Its breaker would let a call through now. */
  readonly admits: boolean;
  /** Its breaker is half-open and nobody is probing. */
  readonly wantsProbe: boolean;
  /** What one more call there would cost, in any unit that the others use too. */
  cost(nowMs: number): number;
};

/**
 * Chooses the cheaper of two random endpoints whose breakers admit calls ("power of two choices": close to the least
 * loaded without herding to it). An endpoint that wants a probe gets it first: nobody else would ever send it one.
 *
 * @param avoid an endpoint to take only when there is no other, as the one that has just failed the call
 * @returns null when no breaker admits a call
 */
export function choose<T extends Candidate>(
  endpoints: readonly T[],
  at: { readonly nowMs: number; readonly random: () => number },
  avoid?: T,
): T | null {
  const [only] = endpoints;
  if (endpoints.length === 1 && only !== undefined) {
    return only.admits ? only : null;
  }
  const admitting = endpoints.filter((endpoint) => endpoint !== avoid && endpoint.admits);
  const probe = admitting.find((endpoint) => endpoint.wantsProbe);
  if (probe !== undefined) {
    return probe;
  }
  const [first, second] = twoOf(admitting, at.random);
  if (first === undefined) {
    return avoid?.admits === true ? avoid : null;
  }
  return second !== undefined && second.cost(at.nowMs) < first.cost(at.nowMs) ? second : first;
}

function twoOf<T>(items: readonly T[], random: () => number): [T | undefined, T | undefined] {
  const first = Math.floor(random() * items.length);
  const offset = 1 + Math.floor(random() * (items.length - 1));
  return [items[first], items.length > 1 ? items[(first + offset) % items.length] : undefined];
}
