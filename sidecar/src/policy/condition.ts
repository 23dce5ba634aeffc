import { nearestName } from '@gatehouse/contracts';
import { Environment, type ParseResult } from '@marcbachmann/cel-js';
import { type ClaimKind, type ClaimKinds, REGISTERED_CLAIMS } from './claims.ts';
import { type ConditionReads, findReads } from './condition-reads.ts';

/** What conditions see, by the names that they use. */
export interface ConditionScope {
  readonly identity: { readonly id: string; readonly trust_domain: string; readonly path: readonly string[] };
  /** Empty: the call brings none. */
  readonly token: { readonly issuer?: string; readonly claims?: Readonly<Record<string, unknown>> };
  /** What the request does not say is absent. */
  readonly request: {
    readonly model?: string;
    readonly model_version?: string;
    readonly max_output_tokens?: bigint;
    readonly priority?: bigint;
  };
  readonly now: Date;
}

/** Fields of `request` by name: the role that the contract gives them, and their CEL type. */
export const REQUEST_FIELDS = {
  model: { role: 'model', type: 'string' },
  model_version: { role: 'modelVersion', type: 'string' },
  max_output_tokens: { role: 'outputTokensLimit', type: 'int' },
  priority: { role: 'priority', type: 'int' },
} as const;

export type RequestFieldName = keyof typeof REQUEST_FIELDS;

export type ConditionAnswer = 'true' | 'false' | { readonly failed: string };

/** A CEL expression that has been read and checked. */
export class Condition {
  readonly source: string;
  readonly reads: ConditionReads;
  readonly #expression: ParseResult;

  constructor(source: string, reads: ConditionReads, expression: ParseResult) {
    this.source = source;
    this.reads = reads;
    this.#expression = expression;
  }

  /** Only the value `true` is true. What failed is said without any value of the call. */
  evaluate(scope: ConditionScope): ConditionAnswer {
    try {
      return this.#expression(scope as unknown as Record<string, unknown>) === true ? 'true' : 'false';
    } catch (error) {
      return { failed: failureOf(error) };
    }
  }
}

/** What is known of the tokens whose claims a condition may name. */
export interface TokenTypes {
  /** Null: the document knows no issuer, so no call has a token. */
  readonly claims: ClaimKinds | null;
  /** Whether no other claims than these and the registered ones may be named. */
  readonly isComplete: boolean;
}

const LIMITS = {
  maxAstNodes: 256,
  maxDepth: 32,
  maxListElements: 256,
  maxMapEntries: 64,
  maxCallArguments: 16,
} as const;

const CEL_TYPES: Readonly<Record<ClaimKind, string>> = {
  string: 'string',
  'string-list': 'list<string>',
  int: 'int',
  bool: 'bool',
};

type CompiledCondition = { readonly condition: Condition } | { readonly problem: string };

/** Reads and checks the conditions of one document; they share the types they are checked against. */
export class ConditionCompiler {
  /** Evaluates: the types were checked before, so that it need not look at them again. */
  readonly #untyped = new Environment({ unlistedVariablesAreDyn: true, limits: LIMITS });
  /** By the claims they know. */
  readonly #typed = new Map<string, Environment>();
  /** By the types and by the source: it is asked for when the document is checked, and when it is compiled. */
  readonly #compiled = new Map<TokenTypes, Map<string, CompiledCondition>>();

  /** @returns the condition, or what is wrong with it, as `expected …` */
  compile(source: string, tokens: TokenTypes): CompiledCondition {
    let bySource = this.#compiled.get(tokens);
    if (bySource === undefined) this.#compiled.set(tokens, (bySource = new Map<string, CompiledCondition>()));
    let compiled = bySource.get(source);
    if (compiled === undefined) bySource.set(source, (compiled = this.#compile(source, tokens)));
    return compiled;
  }

  #compile(source: string, tokens: TokenTypes): CompiledCondition {
    let expression: ParseResult;
    try {
      expression = this.#untyped.parse(source);
    } catch (error) {
      return { problem: `expected a CEL expression: ${located(error, source)}` };
    }
    const reads = findReads(expression.ast);
    if ('problem' in reads)
      return { problem: `expected a condition that can be asked at once: ${reads.problem}` };
    if (reads.token && tokens.claims === null)
      return { problem: 'expected no token: the document has no jwtIssuers, so no call brings one' };
    const checked = this.#typedFor(reads, tokens).check(source);
    if (!checked.valid) {
      const hint = this.#suggestion(checked.error, reads, tokens);
      return { problem: `expected a condition whose types fit: ${located(checked.error, source)}${hint}` };
    }
    if (checked.type !== 'bool' && checked.type !== 'dyn')
      return { problem: `expected true or false, and the condition gives ${checked.type ?? 'nothing'}` };
    return { condition: new Condition(source, reads, expression) };
  }

  #typedFor(reads: ConditionReads, tokens: TokenTypes): Environment {
    const claims = claimTypes(reads, tokens);
    const key = JSON.stringify(claims);
    let typed = this.#typed.get(key);
    if (typed === undefined) {
      const request = Object.fromEntries(
        Object.entries(REQUEST_FIELDS).map(([name, { type }]) => [name, type]),
      );
      typed = new Environment({ unlistedVariablesAreDyn: false, limits: LIMITS })
        .registerVariable({
          name: 'identity',
          schema: { id: 'string', trust_domain: 'string', path: 'list<string>' },
        })
        .registerVariable({ name: 'token', schema: { issuer: 'string', claims } })
        .registerVariable({ name: 'request', schema: request })
        .registerVariable('now', 'google.protobuf.Timestamp');
      this.#typed.set(key, typed);
    }
    return typed;
  }

  #suggestion(error: unknown, reads: ConditionReads, tokens: TokenTypes): string {
    const missing = /^No such key: (.+)$/.exec(summaryOf(error))?.[1];
    if (missing === undefined) return '';
    const known = [
      ...(reads.requestFields.has(missing) ? Object.keys(REQUEST_FIELDS) : []),
      ...(reads.claims.has(missing)
        ? [...(tokens.claims ?? []), ...REGISTERED_CLAIMS].map(([name]) => name)
        : []),
      ...(reads.identity ? ['id', 'trust_domain', 'path'] : []),
    ];
    const nearest = nearestName(missing, known);
    return nearest === undefined ? '' : `; did you mean ${nearest}?`;
  }
}

/** Types of the claims that the condition names; `map` where it takes any. */
function claimTypes(reads: ConditionReads, tokens: TokenTypes): Record<string, string> | string {
  const kinds = new Map([...REGISTERED_CLAIMS, ...(tokens.claims ?? [])]);
  const types: Record<string, string> = {};
  if (tokens.isComplete) {
    for (const [name, kind] of kinds) types[name] = CEL_TYPES[kind];
    return types;
  }
  if (reads.allClaims) return 'map<string, dyn>';
  for (const name of [...reads.claims].toSorted()) {
    const kind = kinds.get(name);
    types[name] = kind === undefined ? 'dyn' : CEL_TYPES[kind];
  }
  return Object.keys(types).length === 0 ? 'map<string, dyn>' : types;
}

/** The code and the piece of the expression that failed: both are the document's, none the call's. */
function failureOf(error: unknown): string {
  const { code, range, node } = error as {
    readonly code?: unknown;
    readonly range?: { readonly start: number; readonly end: number };
    readonly node?: { readonly input?: unknown };
  };
  const name = typeof code === 'string' ? code.replaceAll('_', ' ') : 'an error';
  const input = node?.input;
  return range === undefined || typeof input !== 'string'
    ? name
    : `${name} at \`${input.slice(range.start, range.end)}\``;
}

function located(error: unknown, source: string): string {
  const { range } = error as { readonly range?: { readonly start: number; readonly end: number } };
  const piece = range === undefined ? '' : source.slice(range.start, range.end);
  return piece === '' || piece === source ? summaryOf(error) : `${summaryOf(error)}, at \`${piece}\``;
}

/** The one-line summary: the message draws the whole expression. */
function summaryOf(error: unknown): string {
  const summary = (error as { readonly summary?: unknown }).summary;
  return typeof summary === 'string' ? summary : 'it cannot be read';
}
