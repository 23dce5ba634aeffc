import type { Execution } from './execution.ts';
import type { CallBounds } from './model-calls.ts';

/** One try of a node that calls a model. */
export interface Attempt {
  readonly execution: Execution;
  readonly run: CallBounds;
  readonly model: string;
  /** Tells a piece of text of this try. */
  readonly tellDelta: (text: string) => Promise<void>;
}
