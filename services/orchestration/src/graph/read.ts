import type { Graph, GraphInput, Node, SwitchNode } from '@gatehouse/contracts/orchestration';
import { type Condition, parseCondition } from './condition.ts';
import { parseSchema } from './json-schema.ts';
import { graphDepthMax } from './limits.ts';
import {
  type Action,
  type FallbackPlan,
  type GenerateAction,
  innerLists,
  type Plan,
  type PlannedInput,
  type PlannedNode,
} from './plan.ts';
import { parseTemplate, type Template, templateReferences } from './references.ts';
import { declaredType, type Json } from './types.ts';

/** Takes what is wrong and where, keys named as the contract names them: `nodes[3].switch.cases[0].condition`. */
export type Report = (path: string, description: string) => void;

const concurrencyDefault = 4;
const backoffMsDefault = 100;

/** Stands in for a template or a condition that was reported, so that reading can go on. */
const emptyTemplate: Template = { kind: 'text', parts: [] };

/** Parses every template, condition and schema of a graph. What is wrong is reported, and reading goes on. */
export function readGraph(graph: Graph, report: Report): Plan {
  const nodes = readNodes(graph.nodes, { report, place: 'nodes', depth: 1 });
  return {
    name: graph.name,
    inputs: graph.inputs.map(readInput),
    nodes,
    outputs: graph.outputs.map(({ name, value }, at) => ({
      name,
      value: readTemplate(value, `outputs[${at}].value`, report),
    })),
  };
}

function readInput(input: GraphInput): PlannedInput {
  return {
    name: input.name,
    type: declaredType(input.type),
    default: input.default as Json | undefined,
  };
}

interface Spot {
  readonly report: Report;
  readonly place: string;
  readonly depth: number;
}

function readNodes(nodes: readonly Node[], { report, place, depth }: Spot): PlannedNode[] {
  if (nodes.length > 0 && depth > graphDepthMax) {
    report(place, `nodes stand ${depth} deep in each other; at most ${graphDepthMax}`);
    return [];
  }
  return nodes.flatMap((node, at) => {
    const planned = readNode(node, { report, place: `${place}[${at}]`, depth });
    return planned ? [planned] : [];
  });
}

function readNode(node: Node, spot: Spot): PlannedNode | undefined {
  const { place, report } = spot;
  const action = readAction(node, spot);
  if (!action) {
    report(place, 'has no kind; expected generate, embed, retrieve, switch, parallel or map');
    return undefined;
  }
  const makesCall = action.kind === 'generate' || action.kind === 'embed' || action.kind === 'retrieve';
  if (node.retry && !makesCall)
    report(`${place}.retry`, `belongs to a node that calls a model, not to a ${action.kind}`);
  if (node.fallback?.with?.$case === 'model' && !makesCall) {
    report(`${place}.fallback.model`, `belongs to a node that calls a model, not to a ${action.kind}`);
  }
  return {
    id: node.id,
    place,
    action,
    refersTo: new Set(referredNodes(action)),
    deadlineMs: node.deadline && milliseconds(node.deadline),
    retry: {
      attemptsMax: node.retry?.attemptsMax ?? 1,
      backoffMs: node.retry?.backoff ? milliseconds(node.retry.backoff) : backoffMsDefault,
    },
    fallback: readFallback(node),
  };
}

function readFallback(node: Node): FallbackPlan | undefined {
  const chosen = node.fallback?.with;
  if (!chosen) return undefined;
  return chosen.$case === 'model'
    ? { kind: 'model', model: chosen.value }
    : { kind: 'value', value: (chosen.value ?? null) as Json };
}

function readAction(node: Node, { report, place, depth }: Spot): Action | undefined {
  const { kind } = node;
  if (!kind) return undefined;
  const inside = (list: readonly Node[], where: string): PlannedNode[] =>
    readNodes(list, { report, place: `${place}${where}`, depth: depth + 1 });
  const template = (text: string, key: string): Template =>
    readTemplate(text, `${place}.${kind.$case}.${key}`, report);
  switch (kind.$case) {
    case 'generate':
      return readGenerate(kind.value, { report, place, depth });
    case 'embed':
      return { kind: 'embed', model: kind.value.model, input: template(kind.value.input, 'input') };
    case 'retrieve': {
      const { model, query, passages, topK } = kind.value;
      return {
        kind: 'retrieve',
        model,
        query: template(query, 'query'),
        passages: template(passages, 'passages'),
        topK,
      };
    }
    case 'switch':
      return {
        kind: 'switch',
        cases: readCases(kind.value, { report, place, depth }),
        otherwise: inside(kind.value.otherwise, '.switch.otherwise'),
      };
    case 'parallel':
      return { kind: 'parallel', nodes: inside(kind.value.nodes, '.parallel.nodes') };
    case 'map':
      return {
        kind: 'map',
        over: template(kind.value.over, 'over'),
        nodes: inside(kind.value.nodes, '.map.nodes'),
        concurrencyMax: kind.value.concurrencyMax ?? concurrencyDefault,
      };
  }
}

function readGenerate(
  node: Extract<NonNullable<Node['kind']>, { $case: 'generate' }>['value'],
  { report, place }: Spot,
): GenerateAction {
  const schema = node.jsonSchema === '' ? undefined : parseSchema(node.jsonSchema);
  if (schema && !schema.ok) report(`${place}.generate.json_schema`, schema.error);
  return {
    kind: 'generate',
    model: node.model,
    system: node.system === '' ? undefined : readTemplate(node.system, `${place}.generate.system`, report),
    prompt: readTemplate(node.prompt, `${place}.generate.prompt`, report),
    maxTokens: node.maxTokens,
    temperature: node.temperature,
    seed: node.seed,
    stop: node.stop,
    schema: schema && { text: node.jsonSchema, type: schema.ok ? schema.value : { kind: 'any' } },
  };
}

function readCases(
  node: SwitchNode,
  { report, place, depth }: Spot,
): { condition: Condition; nodes: PlannedNode[] }[] {
  return node.cases.flatMap(({ condition, nodes }, at) => {
    const where = `${place}.switch.cases[${at}]`;
    const inner = readNodes(nodes, { report, place: `${where}.nodes`, depth: depth + 1 });
    const parsed = parseCondition(condition);
    if (parsed.ok) return [{ condition: parsed.value, nodes: inner }];
    report(`${where}.condition`, parsed.error);
    const never = parseCondition('false');
    return never.ok ? [{ condition: never.value, nodes: inner }] : [];
  });
}

function readTemplate(text: string, path: string, report: Report): Template {
  const parsed = parseTemplate(text);
  if (parsed.ok) return parsed.value;
  report(path, parsed.error);
  return emptyTemplate;
}

/** Ids of the nodes that an action refers to, what its inner nodes refer to included. */
function referredNodes(action: Action): string[] {
  const own = actionTemplates(action)
    .flatMap(({ template }) => templateReferences(template))
    .flatMap((reference) => (reference.root === 'nodes' ? [reference.name] : []));
  const asked = action.kind === 'switch' ? action.cases.flatMap(({ condition }) => [...condition.nodes]) : [];
  const inner = innerLists(action).flatMap(({ nodes }) => nodes.flatMap(({ refersTo }) => [...refersTo]));
  return [...own, ...asked, ...inner];
}

/** The templates of an action itself, each with its place behind the node's own. */
export function actionTemplates(
  action: Action,
): readonly { readonly place: string; readonly template: Template }[] {
  switch (action.kind) {
    case 'generate':
      return [
        ...(action.system ? [{ place: '.generate.system', template: action.system }] : []),
        { place: '.generate.prompt', template: action.prompt },
      ];
    case 'embed':
      return [{ place: '.embed.input', template: action.input }];
    case 'retrieve':
      return [
        { place: '.retrieve.query', template: action.query },
        { place: '.retrieve.passages', template: action.passages },
      ];
    case 'map':
      return [{ place: '.map.over', template: action.over }];
    case 'switch':
    case 'parallel':
      return [];
  }
}

function milliseconds({ seconds, nanos }: { readonly seconds: bigint; readonly nanos: number }): number {
  return Number(seconds) * 1000 + nanos / 1e6;
}
