import { hash } from 'node:crypto';

/** Longer values are known by their digest. */
const VALUE_CHARACTERS_MAX = 64;
/** Values with a number of their own in one call; those beyond share a placeholder without a number. */
const VALUES_MAX = 1000;

/**
 * The placeholders of one call, shared by all its fields in both directions: the same value is shown as the same placeholder.
 * Holds what was taken out, so it lives as long as its call.
 */
export class PlaceholderBook {
  readonly #numbers = new Map<string, Map<string, number>>();
  #size = 0;

  /** `[CARD_1]`, and `[CARD]` once the book is full. */
  placeholder(name: string, value: string): string {
    let numbers = this.#numbers.get(name);
    if (numbers === undefined) {
      numbers = new Map();
      this.#numbers.set(name, numbers);
    }
    const key = value.length > VALUE_CHARACTERS_MAX ? hash('sha256', value) : value;
    const known = numbers.get(key);
    if (known !== undefined) return `[${name}_${known}]`;
    if (this.#size === VALUES_MAX) return `[${name}]`;
    this.#size++;
    numbers.set(key, numbers.size + 1);
    return `[${name}_${numbers.size}]`;
  }
}
