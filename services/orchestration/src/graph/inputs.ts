import type { Plan } from './plan.ts';
import { describeType, isAssignable, type Json, typeOfValue } from './types.ts';
import type { Violation } from './validation.ts';

export type BoundInputs =
  | { readonly ok: true; readonly values: ReadonlyMap<string, Json> }
  | { readonly ok: false; readonly violations: readonly Violation[] };

/** Holds what a caller gives against what a graph declares, and fills in defaults. Reports all that does not fit. */
export function bindInputs(plan: Plan, given: Readonly<Record<string, Json | undefined>>): BoundInputs {
  const violations: Violation[] = [];
  const report = (name: string, description: string): void => {
    violations.push({ path: `inputs["${name}"]`, description });
  };
  const declared = new Set(plan.inputs.map(({ name }) => name));
  for (const name of Object.keys(given)) {
    if (!declared.has(name)) report(name, 'the graph has no such input');
  }
  const values = new Map<string, Json>();
  for (const input of plan.inputs) {
    const value = (Object.hasOwn(given, input.name) ? given[input.name] : undefined) ?? input.default;
    if (value === undefined) {
      report(input.name, `is missing; expected ${describeType(input.type)}`);
      continue;
    }
    const type = typeOfValue(value);
    if (!isAssignable(type, input.type)) {
      report(input.name, `is ${describeType(type)}, where ${describeType(input.type)} is expected`);
    }
    values.set(input.name, value);
  }
  return violations.length > 0 ? { ok: false, violations } : { ok: true, values };
}
