import type { Compute } from './compute.ts';
import { type Fitted, fitTokens, type TruncationPolicy } from './fit-tokens.ts';
import { Scheduler, type SchedulerLimits } from './scheduler.ts';

export interface EmbedderLimits extends SchedulerLimits {
  /** Tokens of one text, special tokens included. */
  readonly inputTokensMax: number;
  /** Texts that may wait or be computed at a time, over all callers. */
  readonly queueDepthMax: number;
}

export interface Embedded {
  /** Not normalised. */
  readonly vector: Float32Array;
  /** What the model saw: after truncation, special tokens included. */
  readonly inputTokens: number;
  readonly truncated: boolean;
}

export type EmbedOutcome =
  | { readonly kind: 'embedded'; readonly texts: readonly Embedded[] }
  | { readonly kind: 'queue-full'; readonly retryDelayMs: number }
  /** With policy `fail`: every text that is too long, by its place in the call. */
  | {
      readonly kind: 'too-long';
      readonly texts: readonly { readonly index: number; readonly tokens: number }[];
    };

/** Texts in, vectors out, within the limits of one model. */
export class Embedder {
  readonly limits: EmbedderLimits;
  readonly #scheduler: Scheduler;
  #depth = 0;

  /** @param now milliseconds of a steady clock */
  constructor(compute: Compute, limits: EmbedderLimits, now: () => number) {
    this.limits = limits;
    this.#scheduler = new Scheduler(compute, limits, now);
  }

  /** Texts that wait, and texts that are being tokenised or computed. */
  get load(): { waiting: number; running: number } {
    const { waiting } = this.#scheduler;
    return { waiting, running: Math.max(0, this.#depth - waiting) };
  }

  /** Embeds one call's texts. Rejects with the signal's reason when it aborts. */
  async embed(
    texts: readonly string[],
    { truncation, signal }: { truncation: TruncationPolicy; signal: AbortSignal },
  ): Promise<EmbedOutcome> {
    if (this.#depth + texts.length > this.limits.queueDepthMax) {
      return { kind: 'queue-full', retryDelayMs: this.#scheduler.waitMsEstimate() };
    }
    this.#depth += texts.length;
    try {
      const tokens = await this.#scheduler.tokenize(texts, signal);
      const fitted = tokens.map((ids) => fitTokens(ids, this.limits.inputTokensMax, truncation));
      const tooLong = fitted.flatMap((text, index) => (text.fits ? [] : [{ index, tokens: text.tokens }]));
      if (tooLong.length > 0) return { kind: 'too-long', texts: tooLong };
      const fitting = fitted.filter((text): text is Fitted & { fits: true } => text.fits);
      const vectors = await this.#scheduler.embed(
        fitting.map(({ ids }) => ids),
        signal,
      );
      const embedded = fitting.map(({ ids, truncated }, at) => {
        return { vector: vectors[at]!, inputTokens: ids.length, truncated };
      });
      return { kind: 'embedded', texts: embedded };
    } finally {
      this.#depth -= texts.length;
    }
  }
}
