import type { LlamaModel, Token } from 'node-llama-cpp';

/** A character has at most four bytes, so more tokens than that cannot all be part of one: then the bytes are broken. */
const heldTokensMax = 4;

/** Turns tokens into text one at a time, holding back a token that ends within a multi-byte character. */
export class TokenTextDecoder {
  readonly #model: LlamaModel;
  #held: Token[] = [];
  #before: Token[];

  constructor(model: LlamaModel, inputTokens: readonly Token[]) {
    this.#model = model;
    this.#before = inputTokens.slice(-heldTokensMax);
  }

  /** The text that the token completes; empty while a character is incomplete. */
  push(token: Token): string {
    this.#held.push(token);
    const text = this.#text();
    if (text.endsWith('\uFFFD') && this.#held.length < heldTokensMax) return '';
    this.#release();
    return text;
  }

  /** What was held back when no more tokens come. */
  flush(): string {
    const text = this.#held.length > 0 ? this.#text() : '';
    this.#release();
    return text;
  }

  #text(): string {
    return this.#model.detokenize(this.#held, false, this.#before);
  }

  #release(): void {
    this.#before = [...this.#before, ...this.#held].slice(-heldTokensMax);
    this.#held = [];
  }
}
