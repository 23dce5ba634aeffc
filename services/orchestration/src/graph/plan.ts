import type { Condition } from './condition.ts';
import type { Template } from './references.ts';
import type { Json, Type } from './types.ts';

/** A graph that has been read and found valid. It is executed as often as one likes and never changes. */
export interface Plan {
  readonly name: string;
  readonly inputs: readonly PlannedInput[];
  readonly nodes: readonly PlannedNode[];
  readonly outputs: readonly { readonly name: string; readonly value: Template }[];
}

export interface PlannedInput {
  readonly name: string;
  readonly type: Type;
  /** Undefined: the caller has to give a value. */
  readonly default: Json | undefined;
}

export interface PlannedNode {
  readonly id: string;
  /** Where it stands in the document: `nodes[3].switch.cases[0].nodes[1]`. */
  readonly place: string;
  readonly action: Action;
  /** Ids of the nodes that it refers to, what its inner nodes refer to included: its edges. */
  readonly refersTo: ReadonlySet<string>;
  /** Retries included, in milliseconds; undefined: what is left of the call's deadline. */
  readonly deadlineMs: number | undefined;
  readonly retry: RetryPlan;
  readonly fallback: FallbackPlan | undefined;
}

export interface RetryPlan {
  readonly attemptsMax: number;
  /** Before the second try; doubles with each further one. */
  readonly backoffMs: number;
}

export type FallbackPlan =
  | { readonly kind: 'value'; readonly value: Json }
  | { readonly kind: 'model'; readonly model: string };

export type Action = CallAction | CompositeAction;

/** What one call of a model answers. */
export type CallAction = GenerateAction | EmbedAction | RetrieveAction;

/** What runs further nodes. */
export type CompositeAction = SwitchAction | ParallelAction | MapAction;

export interface GenerateAction {
  readonly kind: 'generate';
  readonly model: string;
  /** Undefined: no system message. */
  readonly system: Template | undefined;
  readonly prompt: Template;
  readonly maxTokens: number | undefined;
  readonly temperature: number | undefined;
  readonly seed: number | undefined;
  readonly stop: readonly string[];
  /** Undefined: free text. */
  readonly schema: { readonly text: string; readonly type: Type } | undefined;
}

export interface EmbedAction {
  readonly kind: 'embed';
  readonly model: string;
  readonly input: Template;
}

export interface RetrieveAction {
  readonly kind: 'retrieve';
  readonly model: string;
  readonly query: Template;
  readonly passages: Template;
  readonly topK: number;
}

export interface SwitchAction {
  readonly kind: 'switch';
  readonly cases: readonly { readonly condition: Condition; readonly nodes: readonly PlannedNode[] }[];
  readonly otherwise: readonly PlannedNode[];
}

export interface ParallelAction {
  readonly kind: 'parallel';
  readonly nodes: readonly PlannedNode[];
}

export interface MapAction {
  readonly kind: 'map';
  readonly over: Template;
  readonly nodes: readonly PlannedNode[];
  readonly concurrencyMax: number;
}

/** The lists of nodes inside an action, each with its place behind the node's own. */
export function innerLists(
  action: Action,
): readonly { readonly place: string; readonly nodes: readonly PlannedNode[] }[] {
  switch (action.kind) {
    case 'switch':
      return [
        ...action.cases.map(({ nodes }, at) => ({ place: `.switch.cases[${at}].nodes`, nodes })),
        { place: '.switch.otherwise', nodes: action.otherwise },
      ];
    case 'parallel':
      return [{ place: '.parallel.nodes', nodes: action.nodes }];
    case 'map':
      return [{ place: '.map.nodes', nodes: action.nodes }];
    case 'generate':
    case 'embed':
    case 'retrieve':
      return [];
  }
}
