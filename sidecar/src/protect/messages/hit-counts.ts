import type { Hit } from '../text-window.ts';
import type { TrafficDirection } from './protection-refusal.ts';

/** How often detectors have found something, by direction: in one call, or in all. Never what. */
export class HitCounts {
  readonly #counts: Readonly<Record<TrafficDirection, Map<string, number>>> = {
    request: new Map(),
    response: new Map(),
  };
  readonly #sum: HitCounts | null;

  /** @param sum gets all that is counted here as well */
  constructor(sum: HitCounts | null = null) {
    this.#sum = sum;
  }

  add(direction: TrafficDirection, hits: readonly Hit[]): void {
    const counts = this.#counts[direction];
    for (const { detector, count } of hits) counts.set(detector, (counts.get(detector) ?? 0) + count);
    if (hits.length > 0) this.#sum?.add(direction, hits);
  }

  /** Both directions together. */
  byDetector(): Record<string, number> {
    const sums: Record<string, number> = {};
    for (const counts of Object.values(this.#counts))
      for (const [detector, count] of counts) sums[detector] = (sums[detector] ?? 0) + count;
    return sums;
  }

  /** For people: `request CARD=2, response EMAIL=1`; empty where nothing was found. */
  get text(): string {
    return (['request', 'response'] as const)
      .flatMap((direction) =>
        this.of(direction).map(({ detector, count }) => `${direction} ${detector}=${count}`),
      )
      .join(', ');
  }

  of(direction: TrafficDirection): readonly Hit[] {
    return Array.from(this.#counts[direction], ([detector, count]) => ({ detector, count }));
  }
}
