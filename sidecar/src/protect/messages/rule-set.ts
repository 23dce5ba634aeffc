import { EVERY_SENSITIVITY, type SensitivityBits } from '@gatehouse/contracts';
import { createRedactor, type RedactionRule, type Redactor } from '../redactor.ts';
import type { CleanFields } from './field-protection.ts';

/** A protection, ready to be applied to the fields of these sensitivities. */
export interface SensitivityRule {
  readonly bits: SensitivityBits;
  readonly rule: RedactionRule;
}

/** The protections that concern one direction of some calls: which of them concern a field, by its sensitivities. */
export class RuleSet {
  /** What concerns all sensitivities: metadata and status, and text that nobody has classified. */
  readonly everything: Redactor | null;
  /** Metadata in which it finds nothing. */
  readonly clean: CleanFields = new Set();
  readonly #rules: readonly SensitivityRule[];
  readonly #byBits: (Redactor | null | undefined)[] = [];

  constructor(rules: readonly SensitivityRule[]) {
    this.#rules = rules;
    this.everything = this.forBits(EVERY_SENSITIVITY);
  }

  get isEmpty(): boolean {
    return this.#rules.length === 0;
  }

  /** Null: nothing is looked for in such a field. */
  forBits(bits: SensitivityBits): Redactor | null {
    const known = this.#byBits[bits];
    if (known !== undefined) return known;
    const concerned = this.#rules.filter((each) => (each.bits & bits) !== 0);
    const redactor = concerned.length === 0 ? null : createRedactor(concerned.map(({ rule }) => rule));
    this.#byBits[bits] = redactor;
    return redactor;
  }
}
