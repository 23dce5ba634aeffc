import { checkCondition } from './condition.ts';
import type { Action, CompositeAction, Plan, PlannedNode, SwitchAction } from './plan.ts';
import { actionTemplates, type Report } from './read.ts';
import { type Reference, type Step, type Template, templateReferences } from './references.ts';
import {
  ANY,
  describeType,
  isAssignable,
  joinTypes,
  NUMBER,
  STRING,
  type Type,
  typeOfValue,
  VECTOR,
} from './types.ts';

/**
 * Works out the type of every node's output and reports what does not fit: a value of one type where another is
 * expected, and a step into a value that has no such key.
 * What refers to nothing counts as of any type here; checkScopes has reported it.
 */
export function checkTypes(plan: Plan, report: Report): void {
  const inputs = new Map(plan.inputs.map(({ name, type }) => [name, type]));
  for (const [at, input] of plan.inputs.entries()) {
    if (input.default === undefined) continue;
    const given = typeOfValue(input.default);
    if (!isAssignable(given, input.type)) {
      report(
        `inputs[${at}].default`,
        `is ${describeType(given)}, where ${describeType(input.type)} is declared`,
      );
    }
  }
  const known: Known = { inputs, nodes: new Map(), item: undefined, report };
  typeList(plan.nodes, known);
  for (const [at, { value }] of plan.outputs.entries()) typeTemplate(value, `outputs[${at}].value`, known);
}

interface Known {
  readonly inputs: ReadonlyMap<string, Type>;
  /** Filled as nodes are typed, in the order of their edges. */
  readonly nodes: Map<string, Type>;
  readonly item: Type | undefined;
  readonly report: Report;
}

/** Gives the type of the list's last node. */
function typeList(nodes: readonly PlannedNode[], known: Known): Type {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const visit = (node: PlannedNode): void => {
    if (known.nodes.has(node.id)) return;
    known.nodes.set(node.id, ANY); // Until it is typed, and for good where it stands in a cycle.
    for (const id of node.refersTo) {
      const before = byId.get(id);
      if (before && before !== node) visit(before);
    }
    known.nodes.set(node.id, typeNode(node, known));
  };
  for (const node of nodes) visit(node);
  const last = nodes.at(-1);
  return (last && known.nodes.get(last.id)) ?? { kind: 'null' };
}

function typeNode(node: PlannedNode, known: Known): Type {
  const output = typeAction(node, known);
  if (node.fallback?.kind !== 'value') return output;
  const given = typeOfValue(node.fallback.value);
  if (!isAssignable(given, output)) {
    known.report(
      `${node.place}.fallback.value`,
      `is ${describeType(given)}, where the node's output is ${describeType(output)}`,
    );
  }
  return isAssignable(output, given) ? output : joinTypes(output, given);
}

function typeAction({ action, place }: PlannedNode, known: Known): Type {
  const given = actionTemplates(action).map((one) => ({
    path: `${place}${one.place}`,
    type: typeTemplate(one.template, `${place}${one.place}`, known),
  }));
  for (const { path, type } of given) {
    const expected = expectedType(action, path);
    if (!expected.some((one) => isAssignable(type, one))) {
      known.report(
        path,
        `is ${describeType(type)}, where ${expected.map(describeType).join(' or ')} is expected`,
      );
    }
  }
  const [first] = given;
  switch (action.kind) {
    case 'generate':
      return action.schema?.type ?? STRING;
    case 'embed':
      return embedType(first?.type ?? ANY);
    case 'retrieve':
      return {
        kind: 'list',
        item: { kind: 'object', fields: { index: NUMBER, passage: STRING, score: NUMBER } },
      };
    case 'switch':
    case 'parallel':
    case 'map':
      return typeComposite(action, first?.type ?? ANY, { known, place });
  }
}

function typeComposite(
  action: CompositeAction,
  over: Type,
  { known, place }: { known: Known; place: string },
): Type {
  switch (action.kind) {
    case 'switch':
      return typeSwitch(action, known, place);
    case 'parallel':
      typeList(action.nodes, known);
      return {
        kind: 'object',
        fields: Object.fromEntries(action.nodes.map(({ id }) => [id, known.nodes.get(id) ?? ANY])),
      };
    case 'map': {
      const item = over.kind === 'list' ? over.item : over.kind === 'vector' ? NUMBER : ANY;
      return { kind: 'list', item: typeList(action.nodes, { ...known, item }) };
    }
  }
}

function typeSwitch(action: SwitchAction, known: Known, place: string): Type {
  for (const [at, { condition }] of action.cases.entries()) {
    const problem = checkCondition(condition, known);
    if (problem !== undefined) known.report(`${place}.switch.cases[${at}].condition`, problem);
  }
  return [...action.cases.map(({ nodes }) => nodes), action.otherwise]
    .map((nodes) => typeList(nodes, known))
    .reduce(joinTypes);
}

function embedType(input: Type): Type {
  if (input.kind === 'list') return { kind: 'list', item: VECTOR };
  return input.kind === 'string' ? VECTOR : ANY;
}

const text: readonly Type[] = [STRING];
const texts: Type = { kind: 'list', item: STRING };

function expectedType(action: Action, path: string): readonly Type[] {
  switch (action.kind) {
    case 'generate':
      return text;
    case 'embed':
      return [STRING, texts];
    case 'retrieve':
      return path.endsWith('.passages') ? [texts] : text;
    case 'map':
      return [{ kind: 'list', item: ANY }];
    case 'switch':
    case 'parallel':
      return [ANY];
  }
}

/** A reference alone keeps its type; text is text, and takes in anything but a vector. */
function typeTemplate(template: Template, path: string, known: Known): Type {
  const types = templateReferences(template).map((reference) => ({
    reference,
    type: typeReference(reference, path, known),
  }));
  const [only] = types;
  if (template.kind === 'reference') return only?.type ?? ANY;
  for (const { reference, type } of types) {
    if (type.kind === 'vector')
      known.report(path, `${reference.text} is a vector, which has no form as text`);
  }
  return STRING;
}

function typeReference(reference: Reference, path: string, known: Known): Type {
  const typed = stepInto(rootType(reference, known), reference.steps);
  if (typeof typed !== 'string') return typed;
  known.report(path, `${reference.text}: ${typed}`);
  return ANY;
}

function rootType(reference: Reference, known: Known): Type {
  switch (reference.root) {
    case 'inputs':
      return known.inputs.get(reference.name) ?? ANY;
    case 'nodes':
      return known.nodes.get(reference.name) ?? ANY;
    case 'item':
      return known.item ?? ANY;
    case 'index':
      return NUMBER;
  }
}

/** The type at the end of the steps, or what is wrong with them. */
function stepInto(type: Type, steps: readonly Step[]): Type | string {
  const [step, ...rest] = steps;
  if (!step || type.kind === 'any') return type;
  if (step.kind === 'key') {
    if (type.kind !== 'object') return `${describeType(type)} has no keys, so no .${step.key}`;
    const { fields } = type;
    const field = fields && Object.hasOwn(fields, step.key) ? fields[step.key] : undefined;
    if (fields && !field && type.open !== true) return `there is no .${step.key}; there is ${keysOf(fields)}`;
    return stepInto(field ?? ANY, rest);
  }
  const item = type.kind === 'list' ? type.item : type.kind === 'vector' ? NUMBER : undefined;
  if (!item) return `${describeType(type)} is no list`;
  const typed = stepInto(item, rest);
  return step.kind === 'index' || typeof typed === 'string' ? typed : { kind: 'list', item: typed };
}

function keysOf(fields: Readonly<Record<string, Type>>): string {
  return (
    Object.keys(fields)
      .slice(0, 16)
      .map((key) => `.${key}`)
      .join(', ') || 'no key'
  );
}
