import type { ASTNode } from '@marcbachmann/cel-js';

/** What an expression looks at, found before it is ever asked. */
export interface ConditionReads {
  readonly identity: boolean;
  readonly token: boolean;
  readonly now: boolean;
  /** Names behind `request.`. */
  readonly requestFields: ReadonlySet<string>;
  /** Of them those that stand behind `has(request.NAME)` somewhere. */
  readonly guardedFields: ReadonlySet<string>;
  /** Names behind `token.claims.`. */
  readonly claims: ReadonlySet<string>;
  /** `token.claims` stands without a name that is known beforehand. */
  readonly allClaims: boolean;
}

/** Macros that go through a list, and the one that names a value. */
const MACROS: ReadonlySet<string> = new Set(['all', 'exists', 'exists_one', 'map', 'filter', 'bind']);

/** @returns what the expression looks at, or why it is not taken though CEL would */
export function findReads(root: ASTNode): ConditionReads | { readonly problem: string } {
  const walk = new Walk();
  walk.visit(root, 0);
  return walk.fault === '' ? walk : { problem: walk.fault };
}

class Walk implements ConditionReads {
  identity = false;
  token = false;
  now = false;
  readonly requestFields = new Set<string>();
  readonly guardedFields = new Set<string>();
  readonly claims = new Set<string>();
  allClaims = false;
  fault = '';

  visit(node: ASTNode, macrosAround: number): void {
    if (node.op === 'id') this.#variable(node.args);
    else if (node.op === '.' || node.op === '[]') this.#member(node, macrosAround);
    else {
      let around = macrosAround;
      if (node.op === 'call' && node.args[0] === 'has') this.#guard(node.args[1][0]);
      if (node.op === 'rcall') {
        const [name] = node.args;
        if (name === 'matches')
          this.fault ||= 'matches() can take time without end; use ==, startsWith, endsWith or contains';
        if (MACROS.has(name)) around += 1;
        if (around > 1) this.fault ||= `${name}() inside another one can take too long`;
      }
      for (const child of childrenOf(node.args)) this.visit(child, around);
    }
  }

  #variable(name: string): void {
    if (name === 'request') this.fault ||= 'takes request whole; write request.NAME';
    if (name === 'token') this.token = true;
    if (name === 'identity') this.identity = true;
    if (name === 'now') this.now = true;
  }

  #member(node: ASTNode, macrosAround: number): void {
    const [receiver, key] = node.args as readonly [ASTNode, ASTNode | string];
    const name = memberName(key);
    if (receiver.op === 'id' && receiver.args === 'request' && name !== undefined) {
      this.requestFields.add(name);
      return;
    }
    if (isClaims(receiver)) {
      this.token = true;
      if (name === undefined) this.allClaims = true;
      else this.claims.add(name);
    } else {
      if (isClaims(node)) this.allClaims = true;
      this.visit(receiver, macrosAround);
    }
    if (typeof key !== 'string') this.visit(key, macrosAround);
  }

  #guard(argument: ASTNode | undefined): void {
    if (argument?.op !== '.' || argument.args[0].op !== 'id' || argument.args[0].args !== 'request') return;
    this.guardedFields.add(argument.args[1]);
  }
}

function isClaims(node: ASTNode): boolean {
  return (
    node.op === '.' && node.args[1] === 'claims' && node.args[0].op === 'id' && node.args[0].args === 'token'
  );
}

function memberName(key: ASTNode | string): string | undefined {
  if (typeof key === 'string') return key;
  return key.op === 'value' && typeof key.args === 'string' ? key.args : undefined;
}

function childrenOf(args: unknown): ASTNode[] {
  if (Array.isArray(args)) return args.flatMap(childrenOf);
  return typeof args === 'object' && args !== null && 'op' in args && 'args' in args ? [args as ASTNode] : [];
}
