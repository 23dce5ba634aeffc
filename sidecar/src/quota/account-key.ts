import { type CompiledLimit, splitModel } from '../policy/index.ts';
import type { QuotaSubject } from './subject.ts';

/** Longer values can't give an account of its own. */
const VALUE_CHARACTERS_MAX = 512;

/** The claim that cannot be used. */
export class UnusableClaim {
  readonly claim: string;

  constructor(claim: string) {
    this.claim = claim;
  }
}

/**
 * Which account of a limit a call belongs to. Calls that lack the claim or the model share one; a claim that is there and
 * is no text, number or boolean of at most 512 characters gives none.
 */
export function accountKey(limit: CompiledLimit, subject: QuotaSubject): string | UnusableClaim {
  const { per } = limit;
  const [first] = per;
  if (first === undefined) return '';
  // The one case that is worth a way of its own: nothing is put together.
  if (per.length === 1 && first.kind === 'identity') return subject.identity;
  let key = '';
  for (const part of per) {
    let value: string | null | undefined;
    if (part.kind === 'identity') value = subject.identity;
    else if (part.kind === 'model') value = modelName(subject.model);
    else value = claimValue(subject.claims, part.name);
    if (value === undefined) return new UnusableClaim(part.kind === 'claim' ? part.name : '');
    // With its length before it, so that no value can pass for two.
    key += value === null ? '-;' : `${value.length}:${value};`;
  }
  return key;
}

/** For people: whose account it is. */
export function accountName(limit: CompiledLimit, subject: QuotaSubject): string {
  if (limit.per.length === 0) return 'all callers';
  const names = limit.per.map((part) => {
    if (part.kind === 'identity') return `identity ${subject.identity}`;
    if (part.kind === 'model') return subject.model === null ? 'no model' : `model ${subject.model}`;
    const value = claimValue(subject.claims, part.name) ?? null;
    return value === null ? `no claim ${part.name}` : `claim ${part.name} ${value}`;
  });
  const name = names.join(', ');
  return name.length > VALUE_CHARACTERS_MAX ? `${name.slice(0, VALUE_CHARACTERS_MAX)}…` : name;
}

/** Null: it is not there. Undefined: it can't be used. */
function claimValue(
  claims: Readonly<Record<string, unknown>> | null,
  name: string,
): string | null | undefined {
  if (claims === null || !Object.hasOwn(claims, name)) return null;
  const value = claims[name];
  if (typeof value === 'string') return value.length > VALUE_CHARACTERS_MAX ? undefined : value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}

/** All versions of a model are one. No app has models of very long names: those calls may share an account. */
function modelName(model: string | null): string | null {
  return model === null ? null : splitModel(model).name.slice(0, VALUE_CHARACTERS_MAX);
}
