import type { PlanStep, TextPlan } from './text-plan.ts';

/** A value that the walker has found; its step says what it is. Places are positions in the buffer. */
export interface TextLeaf {
  readonly step: PlanStep;
  /** The message that it stands in. */
  readonly node: MessageNode;
  /** Where the field begins, and where its value does. */
  readonly tagAt: number;
  readonly start: number;
  readonly end: number;
  /** Of a number: its two halves of 32 bits, signed. */
  readonly low: number;
  readonly high: number;
}

/** A message inside the one that is walked, or that one itself: its parent is null. */
export interface MessageNode {
  readonly plan: TextPlan;
  readonly step: PlanStep | null;
  readonly parent: MessageNode | null;
  /** Where the field begins. */
  readonly tagAt: number;
  /** Where its length stands; -1 where it has none: the outermost, and groups. */
  readonly lengthAt: number;
  readonly start: number;
  end: number;
  /** While it is written anew: how many bytes more it has then. */
  grownBytes: number;
}
