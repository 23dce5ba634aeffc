import { innerLists, type Plan, type PlannedNode } from './plan.ts';
import { actionTemplates, type Report } from './read.ts';
import { type Reference, templateReferences } from './references.ts';

/**
 * Reports ids that stand twice, references to what is not there or may not have run, and cycles.
 *
 * An id stands once in the whole graph. A node can refer to the nodes of its own list and to those of the lists around
 * it, but not to a node that it stands in, nor into another node: what happens there is that node's output. The nodes of
 * a parallel node run at the same time and cannot refer to each other. `item` and `index` belong to the nearest map.
 */
export function checkScopes(plan: Plan, report: Report): void {
  const places = collectIds(plan, report);
  reportRepeats(plan.inputs, 'inputs', report);
  reportRepeats(plan.outputs, 'outputs', report);
  const inputs = new Set(plan.inputs.map(({ name }) => name));
  const check: Check = { places, inputs, report };
  const scope: Scope = { visible: new Set(plan.nodes.map(({ id }) => id)), around: [], inMap: false };
  checkList(plan.nodes, scope, check);
  for (const [at, { value }] of plan.outputs.entries()) {
    for (const reference of templateReferences(value)) {
      checkReference(reference, `outputs[${at}].value`, scope, check);
    }
  }
}

interface Check {
  /** The place of every node by its id. */
  readonly places: ReadonlyMap<string, string>;
  readonly inputs: ReadonlySet<string>;
  readonly report: Report;
}

interface Scope {
  readonly visible: ReadonlySet<string>;
  /** Ids of the nodes that this scope stands in, outermost first. */
  readonly around: readonly string[];
  readonly inMap: boolean;
  /** The node whose references are checked. */
  readonly self?: string;
}

function collectIds(plan: Plan, report: Report): Map<string, string> {
  const places = new Map<string, string>();
  const collect = (nodes: readonly PlannedNode[]): void => {
    for (const { id, place, action } of nodes) {
      const first = places.get(id);
      if (first === undefined) places.set(id, place);
      else
        report(`${place}.id`, `"${id}" is the id of ${first} already; an id stands once in the whole graph`);
      for (const inner of innerLists(action)) collect(inner.nodes);
    }
  };
  collect(plan.nodes);
  return places;
}

function reportRepeats(named: readonly { readonly name: string }[], list: string, report: Report): void {
  const seen = new Set<string>();
  for (const [at, { name }] of named.entries()) {
    if (seen.has(name)) report(`${list}[${at}].name`, `"${name}" stands twice`);
    seen.add(name);
  }
}

function checkList(nodes: readonly PlannedNode[], scope: Scope, check: Check): void {
  for (const node of nodes) {
    for (const { place, template } of actionTemplates(node.action)) {
      for (const reference of templateReferences(template)) {
        checkReference(reference, `${node.place}${place}`, { ...scope, self: node.id }, check);
      }
    }
    if (node.action.kind === 'switch') checkConditions(node, { ...scope, self: node.id }, check);
    for (const inner of innerLists(node.action)) {
      checkList(inner.nodes, innerScope(node, inner.nodes, scope), check);
    }
  }
  reportCycles(nodes, check.report);
}

function innerScope(node: PlannedNode, list: readonly PlannedNode[], scope: Scope): Scope {
  const beside = node.action.kind === 'parallel' ? [] : list.map(({ id }) => id);
  const visible = new Set([...scope.visible, ...beside]);
  visible.delete(node.id);
  return { visible, around: [...scope.around, node.id], inMap: scope.inMap || node.action.kind === 'map' };
}

function checkConditions(node: PlannedNode, scope: Scope, check: Check): void {
  if (node.action.kind !== 'switch') return;
  for (const [at, { condition }] of node.action.cases.entries()) {
    const path = `${node.place}.switch.cases[${at}].condition`;
    for (const name of condition.inputs) {
      if (!check.inputs.has(name)) check.report(path, `inputs.${name}: the graph has no such input`);
    }
    for (const id of condition.nodes) {
      const problem = nodeProblem(id, scope, check);
      if (problem !== undefined) check.report(path, `nodes.${id}: ${problem}`);
    }
    if (condition.item && !scope.inMap) check.report(path, 'item and index are known inside a map only');
  }
}

function checkReference(reference: Reference, path: string, scope: Scope, check: Check): void {
  const { root, text } = reference;
  if (root === 'inputs') {
    if (!check.inputs.has(reference.name)) check.report(path, `${text}: the graph has no such input`);
  } else if (root === 'nodes') {
    const problem = nodeProblem(reference.name, scope, check);
    if (problem !== undefined) check.report(path, `${text}: ${problem}`);
  } else if (!scope.inMap) {
    check.report(path, `${text}: item and index are known inside a map only`);
  }
}

function nodeProblem(id: string, scope: Scope, check: Check): string | undefined {
  if (id === scope.self) return `a cycle: ${id} → ${id}`;
  if (scope.visible.has(id)) return undefined;
  const place = check.places.get(id);
  if (place === undefined) return 'the graph has no such node';
  const around = scope.around.indexOf(id);
  if (around >= 0) {
    const cycle = [...scope.around.slice(around), ...(scope.self === undefined ? [] : [scope.self]), id];
    return `a cycle: ${cycle.join(' → ')}; a node cannot wait for one that it stands in`;
  }
  return `may not have run: it stands inside another node or runs at the same time (${place}); refer to that node's output`;
}

/** Finds cycles by a depth-first walk over the edges among the nodes of one list; an edge to itself is known already. */
function reportCycles(nodes: readonly PlannedNode[], report: Report): void {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const done = new Set<string>();
  const trail: string[] = [];
  const visit = (node: PlannedNode): void => {
    const seenAt = trail.indexOf(node.id);
    if (seenAt >= 0) {
      const cycle = [...trail.slice(seenAt), node.id];
      report(byId.get(trail[seenAt] ?? node.id)?.place ?? node.place, `a cycle: ${cycle.join(' → ')}`);
      return;
    }
    if (done.has(node.id)) return;
    trail.push(node.id);
    for (const id of node.refersTo) {
      const next = byId.get(id);
      if (next && next !== node) visit(next);
    }
    trail.pop();
    done.add(node.id);
  };
  for (const node of nodes) visit(node);
}
