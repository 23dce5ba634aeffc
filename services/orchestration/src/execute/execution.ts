import type { ExecutionUsage, StreamExecuteResponse } from '@gatehouse/contracts/orchestration';
import { isJsonList, type Json } from '../graph/types.ts';
import { CallSlots } from './call-slots.ts';
import { limitReached, valueUnfit } from './failures.ts';
import type { ExecutionLimits } from './limits.ts';
import type { ModelCalls } from './model-calls.ts';

/** What happens, as the stream tells it. */
export type ExecutionEvent = NonNullable<StreamExecuteResponse['event']>;

export interface ExecutionOptions {
  readonly calls: ModelCalls;
  readonly limits: ExecutionLimits;
  /** Takes each event; the execution waits for it, so that a slow reader slows the execution. */
  readonly emit: (event: ExecutionEvent) => Promise<void>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** 0 up to 1, for the jitter of retries. */
  readonly random: () => number;
}

/** What all nodes of one execution share: its limits and what has been used of them. */
export class Execution {
  readonly calls: ModelCalls;
  readonly limits: ExecutionLimits;
  readonly emit: (event: ExecutionEvent) => Promise<void>;
  readonly now: () => number;
  readonly random: () => number;
  readonly slots: CallSlots;
  readonly usage: ExecutionUsage = { inputTokens: 0, outputTokens: 0 };
  #nodeRuns = 0;
  #heldBytes = 0;
  #conditionsMs = 0;

  constructor({ calls, limits, emit, now, random }: ExecutionOptions) {
    this.calls = calls;
    this.limits = limits;
    this.emit = emit;
    this.now = now;
    this.random = random;
    this.slots = new CallSlots(limits.callsConcurrentMax);
  }

  /** Counts a node that is about to run. */
  countNode(): void {
    this.#nodeRuns += 1;
    const { nodeRunsMax } = this.limits;
    if (this.#nodeRuns > nodeRunsMax) {
      throw limitReached('nodeRunsMax', nodeRunsMax, `The graph runs more than ${nodeRunsMax} nodes.`);
    }
  }

  /** Counts what a call answered, and refuses what is too large or too deep to pass along. */
  hold(value: Json): Json {
    const { nodeOutputBytesMax, heldBytesMax, outputDepthMax } = this.limits;
    const bytes = jsonBytes(value, outputDepthMax);
    if (bytes > nodeOutputBytesMax) {
      throw limitReached(
        'nodeOutputBytesMax',
        nodeOutputBytesMax,
        `A node answered with more than ${nodeOutputBytesMax} bytes.`,
      );
    }
    this.#heldBytes += bytes;
    if (this.#heldBytes > heldBytesMax) {
      throw limitReached(
        'heldBytesMax',
        heldBytesMax,
        `The nodes answered with more than ${heldBytesMax} bytes in all.`,
      );
    }
    return value;
  }

  /** Whole milliseconds that conditions may still take; throws when none is left. */
  conditionMsLeft(): number {
    const { conditionsMsMax } = this.limits;
    const left = Math.floor(conditionsMsMax - this.#conditionsMs);
    if (left < 1) {
      throw limitReached(
        'conditionsMsMax',
        conditionsMsMax,
        `The conditions take more than ${conditionsMsMax} ms in all.`,
      );
    }
    return left;
  }

  spendConditionMs(ms: number): void {
    this.#conditionsMs += ms;
  }
}

/** About how many bytes a value takes as JSON. */
export function jsonBytes(value: Json, depthMax: number): number {
  if (typeof value === 'string') return Buffer.byteLength(value) + 2;
  if (typeof value !== 'object' || value === null) return 8;
  if (depthMax <= 0) throw valueUnfit('A value is nested too deeply.');
  if (isJsonList(value))
    return value.reduce<number>((sum, item) => sum + 1 + jsonBytes(item, depthMax - 1), 2);
  return Object.entries(value).reduce(
    (sum, [key, item]) => sum + Buffer.byteLength(key) + 4 + jsonBytes(item, depthMax - 1),
    2,
  );
}
