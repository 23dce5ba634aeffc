/** What one execution may use. Going over a limit fails the node that does, with RESOURCE_EXHAUSTED. */
export const executionLimits = {
  /** Nodes run in all: each item of a map counts its nodes again. */
  nodeRunsMax: 8192,
  /** Items of the list that a map runs over. */
  mapItemsMax: 1024,
  /** Calls to models under way at the same time; further ones wait in line. */
  callsConcurrentMax: 16,
  /** Passages that one retrieve node may be given. */
  passagesMax: 1024,
  /** Texts that one embed node may be given; the embeddings contract takes no more in a call. */
  embedInputsMax: 2048,
  /** Bytes of a text made from a template: a prompt, a query, an output. */
  textBytesMax: 1_000_000,
  /** Bytes of what one node answers, as JSON. */
  nodeOutputBytesMax: 1_048_576,
  /** Bytes of what all nodes of an execution have answered together: what it may hold in memory. */
  heldBytesMax: 33_554_432,
  /** Bytes of the graph's outputs together, as JSON; the contract's response limit is 4 MiB. */
  outputsBytesMax: 3_145_728,
  /** How deep lists and objects may stand in each other in what a model answers. */
  outputDepthMax: 32,
  /** Time that all conditions of an execution may take together, in milliseconds: they hold up the whole process. */
  conditionsMsMax: 250,
  /** Events that wait for a slow reader; a full queue holds the execution up. */
  eventsQueuedMax: 64,
} as const;

export type ExecutionLimits = { readonly [Limit in keyof typeof executionLimits]: number };
