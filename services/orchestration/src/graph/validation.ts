import type { Graph, Node } from '@gatehouse/contracts/orchestration';
import { graphNodesMax } from './limits.ts';
import type { Plan } from './plan.ts';
import { readGraph } from './read.ts';
import { checkScopes } from './scoping.ts';
import { checkTypes } from './typing.ts';

/** What is wrong, and where: `nodes[3].switch.cases[0].condition`. */
export interface Violation {
  readonly path: string;
  readonly description: string;
}

/** Violations that are reported at most; a graph with more is far from right. */
const violationsMax = 128;

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
    if (violations.length < violationsMax) violations.push({ path, description });
  };
  const nodes = countNodes(graph.nodes);
  if (nodes > graphNodesMax) {
    const description = `${nodes} nodes in all, those inside others included; at most ${graphNodesMax}`;
    return { ok: false, violations: [{ path: 'nodes', description }] };
  }
  const plan = readGraph(graph, report);
  checkScopes(plan, report);
  checkTypes(plan, report);
  const [first, ...more] = violations;
  return first === undefined ? { ok: true, plan } : { ok: false, violations: [first, ...more] };
}

/** Counts before anything is read, so that a graph of any size is refused for little work. */
function countNodes(nodes: readonly Node[]): number {
  return nodes.reduce((sum, { kind }) => sum + 1 + countNodes(innerNodes(kind)), 0);
}

function innerNodes(kind: Node['kind']): readonly Node[] {
  switch (kind?.$case) {
    case 'switch':
      return [...kind.value.cases.flatMap(({ nodes }) => nodes), ...kind.value.otherwise];
    case 'parallel':
    case 'map':
      return kind.value.nodes;
    default:
      return [];
  }
}
