import vm from 'node:vm';
import { type ASTNode, Environment, type ParseResult } from '@marcbachmann/cel-js';
import type { Parsed } from './references.ts';
import { ANY, type Json, type Type } from './types.ts';

/** A CEL expression that has been read: what it refers to, and how to ask it. */
export interface Condition {
  readonly source: string;
  readonly expression: ParseResult;
  /** Ids behind `nodes.`, names behind `inputs.`, and whether `item` or `index` is used. */
  readonly nodes: ReadonlySet<string>;
  readonly inputs: ReadonlySet<string>;
  readonly item: boolean;
}

/** What a condition can see, by the names that it uses. */
export interface ConditionScope {
  readonly inputs: Readonly<Record<string, Json>>;
  readonly nodes: Readonly<Record<string, { readonly output: Json }>>;
  readonly item?: Json;
  readonly index?: number;
}

/** How an evaluation ended: true or not, an error of the expression, or out of time; and how long it took. */
export type ConditionAnswer = (
  | { readonly kind: 'answered'; readonly holds: boolean }
  | { readonly kind: 'error'; readonly error: string }
  | { readonly kind: 'late' }
) & { readonly tookMs: number };

const limits = {
  maxAstNodes: 512,
  maxDepth: 32,
  maxListElements: 256,
  maxMapEntries: 256,
  maxCallArguments: 16,
} as const;

const untyped = new Environment({ unlistedVariablesAreDyn: true, limits });

/** Macros whose first argument names a variable. */
const bindingMacros: ReadonlySet<string> = new Set(['all', 'exists', 'exists_one', 'map', 'filter', 'bind']);

/** Reads a condition without judging its types. Fails on a syntax error, or on `inputs`/`nodes` used whole. */
export function parseCondition(source: string): Parsed<Condition> {
  try {
    const expression = untyped.parse(source);
    const found = { nodes: new Set<string>(), inputs: new Set<string>(), item: false };
    const error = collectReferences(expression.ast, found, new Set());
    return error === undefined ? { ok: true, value: { source, expression, ...found } } : { ok: false, error };
  } catch (error) {
    return { ok: false, error: summaryOf(error) };
  }
}

/** Says what is wrong with a condition's types, given the types of what it can see; undefined when nothing is. */
export function checkCondition(
  condition: Condition,
  sees: { inputs: ReadonlyMap<string, Type>; nodes: ReadonlyMap<string, Type> },
): string | undefined {
  const inputs = Object.fromEntries(
    [...condition.inputs].map((name) => [name, celType(sees.inputs.get(name) ?? ANY)]),
  );
  const nodes = Object.fromEntries(
    [...condition.nodes].map((id) => [id, { output: celType(sees.nodes.get(id) ?? ANY) }]),
  );
  const typed = new Environment({ unlistedVariablesAreDyn: false, limits })
    .registerVariable({ name: 'inputs', schema: inputs })
    .registerVariable({ name: 'nodes', schema: nodes })
    .registerVariable('item', 'dyn')
    .registerVariable('index', 'dyn');
  const checked = typed.check(condition.source);
  if (!checked.valid) return checked.error?.summary ?? 'does not type-check';
  const type = checked.type ?? 'dyn';
  return type === 'bool' || type === 'dyn' ? undefined : `is ${type}, where a condition is a bool`;
}

/** Numbers stay dynamic: CEL does not compare a double with an int literal, and JSON knows one kind of number. */
function celType(type: Type): string {
  switch (type.kind) {
    case 'string':
      return 'string';
    case 'boolean':
      return 'bool';
    case 'list':
    case 'vector':
      return 'list';
    case 'object':
      return 'map';
    case 'number':
    case 'null':
    case 'any':
      return 'dyn';
  }
}

const timeoutCode = 'ERR_SCRIPT_EXECUTION_TIMEOUT';
const watched = vm.createContext({ evaluate: undefined });
const callWatched = new vm.Script('evaluate()');

/**
 * Evaluates with a bound on time: the evaluation runs under V8's watchdog, which stops loops and regular
 * expressions alike. Only the value `true` holds.
 * @param timeMsMax whole milliseconds, at least 1
 */
export function evaluateCondition(
  condition: Condition,
  scope: ConditionScope,
  timeMsMax: number,
): ConditionAnswer {
  let answer: ConditionAnswer = { kind: 'late', tookMs: timeMsMax };
  watched.evaluate = (): void => {
    const startedAt = performance.now();
    const value = evaluate(condition.expression, scope);
    answer = { ...value, tookMs: performance.now() - startedAt }; // Without what it takes to set the watchdog.
  };
  try {
    callWatched.runInContext(watched, { timeout: timeMsMax });
  } catch (error) {
    if (!isTimeout(error)) throw error;
  } finally {
    watched.evaluate = undefined;
  }
  return answer;
}

function evaluate(
  expression: ParseResult,
  scope: ConditionScope,
): { kind: 'answered'; holds: boolean } | { kind: 'error'; error: string } {
  try {
    const value: unknown = expression({ ...scope });
    return { kind: 'answered', holds: value === true };
  } catch (error) {
    return { kind: 'error', error: summaryOf(error) };
  }
}

function isTimeout(error: unknown): boolean {
  // Made in the watched context, so no instance of this one's Error.
  return typeof error === 'object' && error !== null && 'code' in error && error.code === timeoutCode;
}

/** The one-line summary of a CEL error: its message draws the expression, which is content. */
function summaryOf(error: unknown): string {
  if (error instanceof Error && 'summary' in error && typeof error.summary === 'string') return error.summary;
  return error instanceof Error ? error.name : 'failed';
}

interface Found {
  readonly nodes: Set<string>;
  readonly inputs: Set<string>;
  item: boolean;
}

/** Walks the tree; `nodes` and `inputs` count only where a name follows, so that every edge is known beforehand. */
function collectReferences(node: ASTNode, found: Found, bound: ReadonlySet<string>): string | undefined {
  if (node.op === 'id') return bound.has(node.args) ? undefined : collectVariable(node.args, found);
  const named = namedAccess(node);
  if (named !== undefined && !bound.has(named.root)) {
    found[named.root].add(named.name);
    return undefined;
  }
  let children = childrenOf(node.args);
  let inner = bound;
  if (node.op === 'rcall' && bindingMacros.has(node.args[0])) {
    const [variable, ...rest] = node.args[2];
    if (variable?.op === 'id') {
      inner = new Set([...bound, variable.args]);
      children = [node.args[1], ...rest];
    }
  }
  for (const child of children) {
    const error = collectReferences(child, found, inner);
    if (error !== undefined) return error;
  }
  return undefined;
}

function collectVariable(name: string, found: Found): string | undefined {
  if (name === 'nodes') return 'takes nodes whole; write nodes.ID.output';
  if (name === 'inputs') return 'takes inputs whole; write inputs.NAME';
  if (name === 'item' || name === 'index') found.item = true;
  return undefined;
}

function namedAccess(node: ASTNode): { root: 'nodes' | 'inputs'; name: string } | undefined {
  if (node.op !== '.' && node.op !== '[]') return undefined;
  const [receiver, key] = node.args;
  if (receiver.op !== 'id' || (receiver.args !== 'nodes' && receiver.args !== 'inputs')) return undefined;
  const name = typeof key === 'string' ? key : key.op === 'value' ? key.args : undefined;
  return typeof name === 'string' ? { root: receiver.args, name } : undefined;
}

function childrenOf(args: unknown): ASTNode[] {
  if (Array.isArray(args)) return args.flatMap(childrenOf);
  return isAstNode(args) ? [args] : [];
}

function isAstNode(value: unknown): value is ASTNode {
  return typeof value === 'object' && value !== null && 'op' in value && 'args' in value;
}
