import type { BatchItem, EvaluationPriority, PrioritizedBatchItem } from 'node-llama-cpp';

/**
 * llama.cpp evaluates tokens of several sequences together only where the sequences' indexes follow one another in the
 * batch; otherwise it splits the batch and takes up to twice as long. node-llama-cpp orders a batch by arrival, and
 * tells a strategy of one's own nothing of an item's sequence but its priority: so the index travels as that.
 */
export function rankAsPriority(rank: number): EvaluationPriority {
  return rank as EvaluationPriority; // Any number: node-llama-cpp only passes it on.
}

/** Fills a batch of at most `size` tokens in the order of the sequences' indexes. */
export function inRankOrder(batch: { items: readonly BatchItem[]; size: number }): PrioritizedBatchItem[] {
  let free = batch.size;
  const chosen: PrioritizedBatchItem[] = [];
  for (const item of [...batch.items].sort((a, b) => a.evaluationPriority - b.evaluationPriority)) {
    const processAmount = Math.min(item.tokens.length, free);
    if (processAmount === 0) break;
    chosen.push({ item, processAmount });
    free -= processAmount;
  }
  return chosen;
}
