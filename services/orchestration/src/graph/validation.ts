import type { Graph } from '@gatehouse/contracts/orchestration';
import type { Plan } from './plan.ts';
import { readGraph } from './read.ts';
import { checkScopes } from './scoping.ts';
import { checkTypes } from './typing.ts';

/** What is wrong, and where: `nodes[3].switch.cases[0].condition`. */
export interface Violation {
  readonly path: string;
  readonly description: string;
}

export type Validated =
  | { readonly ok: true; readonly plan: Plan }
  | { readonly ok: false; readonly violations: readonly [Violation, ...Violation[]] };

/**
 * Validates a graph as a whole and gives the plan to execute, or everything that is wrong with it at once.
 * Field rules of the contract (lengths, patterns, ranges) are not judged again here.
 */
export function validateGraph(graph: Graph): Validated {
  const violations: Violation[] = [];
  const report = (path: string, description: string): void => {
    violations.push({ path, description });
  };
  const plan = readGraph(graph, report);
  checkScopes(plan, report);
  checkTypes(plan, report);
  const [first, ...more] = violations;
  return first === undefined ? { ok: true, plan } : { ok: false, violations: [first, ...more] };
}
